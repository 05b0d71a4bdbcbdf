"""Networks, as plain ``nn.Module`` s that know nothing of logs, stores or training."""

from credit_like.models.anomaly_detector import AnomalyDetector, Readout
from credit_like.models.conformal import ConformalTail
from credit_like.models.convolution import make_convolution
from credit_like.models.detector import Detector
from credit_like.models.dgi import DGI, DGILoss
from credit_like.models.gat import GAT
from credit_like.models.graph_encoder import GraphEncoder
from credit_like.models.id_encoder import HashIds, IdEncoder, LookupIds, NoIds, make_id_encoder
from credit_like.models.losses import ClassificationLoss, distillation_loss, make_loss
from credit_like.models.one_class import OneClassHead
from credit_like.models.own_traffic import OwnTraffic
from credit_like.models.readout import GraphPool, LayerJump

__all__ = [
    "DGI",
    "GAT",
    "AnomalyDetector",
    "ClassificationLoss",
    "ConformalTail",
    "DGILoss",
    "Detector",
    "GraphEncoder",
    "GraphPool",
    "HashIds",
    "IdEncoder",
    "LayerJump",
    "LookupIds",
    "NoIds",
    "OneClassHead",
    "OwnTraffic",
    "Readout",
    "distillation_loss",
    "make_convolution",
    "make_id_encoder",
    "make_loss",
]
