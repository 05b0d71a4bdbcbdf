"""Fusion of two experts: the policy that mixes their scores, its reward, and two agents that learn it."""

from credit_like.models.fusion.dqn import DoubleDQN, QNetwork
from credit_like.models.fusion.learner import Learner
from credit_like.models.fusion.neural_linucb import LinUCBNetwork, NeuralLinUCB
from credit_like.models.fusion.policy import ANOMALY, EITHER, GAT, POLICY, RULES, FusionPolicy
from credit_like.models.fusion.replay import ReplayBuffer, Transitions
from credit_like.models.fusion.reward import COMPONENTS, FusionReward
from credit_like.models.fusion.ridge import RidgeArms

__all__ = [
    "ANOMALY",
    "COMPONENTS",
    "EITHER",
    "GAT",
    "POLICY",
    "RULES",
    "DoubleDQN",
    "FusionPolicy",
    "FusionReward",
    "Learner",
    "LinUCBNetwork",
    "NeuralLinUCB",
    "QNetwork",
    "ReplayBuffer",
    "RidgeArms",
    "Transitions",
]
