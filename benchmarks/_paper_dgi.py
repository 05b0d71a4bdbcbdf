"""Deep Graph Infomax (Velickovic et al., ICLR 2019, sections 4.1 and 4.2, transductive) by our objective."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from credit_like.models import DGI, DGILoss
from credit_like.training import seed_everything

#: What the paper and its published code give for Cora.
WIDTH, LEARNING_RATE, PATIENCE, EPOCHS = 512, 1e-3, 20, 10_000
PROBE_STEPS, PROBE_RATE = 300, 1e-2


class GraphConvolution(nn.Module):
    """One layer of Kipf & Welling 2017 with PReLU; features are sparse, and multiplied as such."""

    def __init__(self, features: int, width: int, edge_index: Tensor, nodes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(features, width)))
        self.bias = nn.Parameter(torch.zeros(width))
        self.activate = nn.PReLU()
        index, value = gcn_norm(edge_index, None, nodes)
        self.register_buffer("adjacency", torch.sparse_coo_tensor(index.flip(0), value, (nodes, nodes)).coalesce())

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None) -> Tensor:
        hidden = torch.sparse.mm(x.to_sparse(), self.weight)
        return self.activate(torch.sparse.mm(self.adjacency, hidden) + self.bias)


def embeddings(data: Data, seed: int, width: int = WIDTH, epochs: int = EPOCHS) -> Tensor:
    """Node embeddings float32[N, width] of the epoch with the lowest loss; no label is seen."""
    seed_everything(seed)
    model = DGI(GraphConvolution(data.num_features, width, data.edge_index, data.num_nodes), width)
    adam = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    criterion, one = DGILoss(), torch.zeros(data.num_nodes, dtype=torch.int64)
    best, waited, kept = float("inf"), 0, copy.deepcopy(model.state_dict())
    for _ in range(epochs):
        adam.zero_grad()
        _, true, shuffled = model(data.x, data.edge_index, None, one, 1)
        loss = criterion(true, shuffled, one, 1)
        now = loss.item()
        if now < best:
            best, waited, kept = now, 0, copy.deepcopy(model.state_dict())
        elif (waited := waited + 1) >= PATIENCE:
            break
        loss.backward()
        adam.step()
    model.load_state_dict(kept)
    with torch.no_grad():
        return model.encoder(data.x, data.edge_index, None)


def probe(hidden: Tensor, data: Data) -> float:
    """Test accuracy of a linear classifier that is trained on the embeddings of the training nodes."""
    linear = nn.Linear(hidden.shape[1], int(data.y.max()) + 1)
    adam = torch.optim.Adam(linear.parameters(), lr=PROBE_RATE)
    for _ in range(PROBE_STEPS):
        adam.zero_grad()
        nn.functional.cross_entropy(linear(hidden[data.train_mask]), data.y[data.train_mask]).backward()
        adam.step()
    with torch.no_grad():
        found = linear(hidden[data.test_mask]).argmax(dim=1)
    return float((found == data.y[data.test_mask]).double().mean())


def run(data: Data, seed: int) -> float:
    """Test accuracy of one training and its probe on ``data`` (see ``read_planetoid``)."""
    return probe(embeddings(data, seed), data)
