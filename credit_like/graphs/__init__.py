"""Frames to graphs: windows, features, vocabulary, scaler, the packed store and its loader, splits and certificate."""

from credit_like.graphs.certificate import check_certificate, issue_certificate
from credit_like.graphs.features import EDGE_FEATURES, NODE_FEATURES, GraphArrays, build_graphs
from credit_like.graphs.groups import Group, Groups, find_groups
from credit_like.graphs.loader import PackedLoader
from credit_like.graphs.plan import Segment, SplitPlan, is_test
from credit_like.graphs.rewiring import ChangeEdges, remove_edges, rewire_edges
from credit_like.graphs.scaler import FeatureScaler, ScalerSettings
from credit_like.graphs.shards import build_shard, merge_shards
from credit_like.graphs.splits import SplitSettings, plan_splits, settle_labels
from credit_like.graphs.store import GraphStore, StoreError
from credit_like.graphs.vocabulary import Vocabulary
from credit_like.graphs.windows import WindowSettings, WindowTable, cut_windows

__all__ = [
    "EDGE_FEATURES",
    "NODE_FEATURES",
    "ChangeEdges",
    "FeatureScaler",
    "GraphArrays",
    "GraphStore",
    "Group",
    "Groups",
    "PackedLoader",
    "ScalerSettings",
    "Segment",
    "SplitPlan",
    "SplitSettings",
    "StoreError",
    "Vocabulary",
    "WindowSettings",
    "WindowTable",
    "build_graphs",
    "build_shard",
    "check_certificate",
    "cut_windows",
    "find_groups",
    "is_test",
    "issue_certificate",
    "merge_shards",
    "plan_splits",
    "remove_edges",
    "rewire_edges",
    "settle_labels",
]
