"""The controller of ACE: which encoders to concatenate, learnt from the F1 of earlier choices.

A choice is a vector a in {0, 1}^L. The controller has one parameter theta_l for each encoder, and draws

    P(a_l = 1) = sigmoid(theta_l)

anew until the choice is neither empty nor the one before it; the first choice is all encoders. After choice a_t with
the score R_t its reward at each position compares it with every earlier choice a_i, whose best score is R_i:

    r = sum over i < t of  (R_t - R_i) gamma^(|a_t - a_i| - 1) |a_t - a_i|        with |.| the Hamming distance

and theta goes along  sum over l of r_l grad log P(a_l)  (REINFORCE), by gradient ascent with momentum.
"""

import random
from math import exp

EncoderChoice = tuple[int, ...]
"""For each encoder, 1 if it is used."""

MAX_DRAWS = 1000


class Controller:
    """Args:
    count: L, of encoders.
    rate, momentum: of the ascent.
    discount: gamma.
    seed: of the draws.
    """

    def __init__(self, count: int, rate: float, momentum: float, discount: float, seed: int) -> None:
        self.rate, self.momentum, self.discount, self.seed = rate, momentum, discount, seed
        self.theta, self.velocity = [0.0] * count, [0.0] * count
        self.tried: list[tuple[EncoderChoice, float]] = []

    @property
    def chances(self) -> list[float]:
        """P(a_l = 1)."""
        return [1 / (1 + exp(-theta)) for theta in self.theta]

    def draw(self) -> EncoderChoice:
        """The next choice. It depends on the seed and on what was learnt, so a resumed search goes on as it would."""
        if not self.tried:
            return (1,) * len(self.theta)
        before = self.tried[-1][0]
        draws = random.Random(f"{self.seed} {len(self.tried)}")
        for _ in range(MAX_DRAWS):
            choice = tuple(int(draws.random() < chance) for chance in self.chances)
            if any(choice) and choice != before:
                return choice
        # Theta is all but certain of the choice before, or of none.
        flipped = [(*before[:i], 1 - before[i], *before[i + 1 :]) for i in range(len(before))]
        return draws.choice([choice for choice in flipped if any(choice)] or [before])

    def reward(self, choice: EncoderChoice, score: float) -> list[float]:
        """The reward of a choice at each position."""
        best: dict[EncoderChoice, float] = {}
        for earlier, its_score in self.tried:
            best[earlier] = max(its_score, best.get(earlier, its_score))
        rewards = [0.0] * len(choice)
        for earlier, its_score in best.items():
            differs = [abs(a - b) for a, b in zip(choice, earlier, strict=True)]
            if distance := sum(differs):
                gain = (score - its_score) * self.discount ** (distance - 1)
                rewards = [reward + gain * differ for reward, differ in zip(rewards, differs, strict=True)]
        return rewards

    def learn(self, choice: EncoderChoice, score: float) -> None:
        """Take note of the score of a choice. The first one only sets what later ones are compared with."""
        if self.tried:
            rewards = self.reward(choice, score)
            for i, (used, chance, reward) in enumerate(zip(choice, self.chances, rewards, strict=True)):
                # d log P(a_l) / d theta_l = a_l - sigmoid(theta_l)
                self.velocity[i] = self.momentum * self.velocity[i] + reward * (used - chance)
            self.theta = [theta + self.rate * v for theta, v in zip(self.theta, self.velocity, strict=True)]
        self.tried.append((choice, score))

    @property
    def best(self) -> tuple[EncoderChoice, float]:
        """The choice with the best score, the first of equals, and its score."""
        return max(self.tried, key=lambda one: one[1])
