"""The assessment (`genner assess`): a study, its grid of cells, and the folder that records their runs."""
