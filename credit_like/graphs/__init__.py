"""Frames to graphs: windows, features, vocabulary, scaler, the packed store and its loader, splits and certificate."""

from credit_like.graphs.features import EDGE_FEATURES, NODE_FEATURES, GraphArrays, build_graphs
from credit_like.graphs.loader import PackedLoader
from credit_like.graphs.plan import Segment, SplitPlan, is_test
from credit_like.graphs.scaler import FeatureScaler, ScalerSettings
from credit_like.graphs.store import GraphStore, StoreError
from credit_like.graphs.vocabulary import Vocabulary
from credit_like.graphs.windows import WindowSettings, WindowTable, cut_windows

__all__ = [
    "EDGE_FEATURES",
    "NODE_FEATURES",
    "FeatureScaler",
    "GraphArrays",
    "GraphStore",
    "PackedLoader",
    "ScalerSettings",
    "Segment",
    "SplitPlan",
    "StoreError",
    "Vocabulary",
    "WindowSettings",
    "WindowTable",
    "build_graphs",
    "cut_windows",
    "is_test",
]
