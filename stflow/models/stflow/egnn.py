"""E(n)-equivariant graph network (Satorras et al. 2021, equations 3 to 6) in place of the attention.

For a spot i and its neighbours j::

    m_ij = phi_e(h_i, h_j, |x_i - x_j|^2, a_ij)     a_ij = Y_j - Y_i                        (3)
    m_i  = sum_j m_ij                                                                       (5)
    h_i <- h_i + phi_h(h_i, m_i)                                                            (6)

Equation 4 moves the positions x along the edges. What is predicted here does not turn with the slide, so the positions
stay where they are, as in the authors' own networks for invariant targets. What remains reads positions through
distances alone, and is invariant to moving, turning and mirroring.

The edge attribute is the expression state, as in the logits of the paper's attention: without it a flow could not
enter. The paper gives 4 layers, 8 neighbours, size 128 and dropout 0.2, and no code; that dropout follows the first
SiLU of both MLPs is ours.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stflow.models.stflow.graph import Graph
from stflow.models.stflow.layers import Dropout
from stflow.models.stflow.mixer import Mixer
from stflow.models.stflow.rows import in_blocks, take


class EGNN(Mixer):
    """Messages over the neighbourhood graph, summed.

    Parameters
    ----------
    d
        Size of spot states, of messages and of hidden layers.
    n_genes
        Size G of the expression state.
    dropout
        Drop probability of hidden units.
    """

    #: Spots whose edges are in memory at once when no gradient is kept.
    block_spots = 4096

    def __init__(self, d: int, n_genes: int, dropout: float) -> None:
        super().__init__()
        self.edge_in = nn.Linear(2 * d + 1 + n_genes, d)
        self.edge_out = nn.Linear(d, d)
        self.node_in = nn.Linear(2 * d, d)
        self.node_out = nn.Linear(d, d)
        self.dropout = Dropout(dropout)

    def forward(self, z: Tensor, y: Tensor, graph: Graph, geometry: Tensor | None = None) -> Tensor:
        """``phi_h(h_i, m_i)``, see `Mixer`; distances are in units of ``edge_scale_um``."""
        M, d = z.shape  # spots, size of a state
        # The first linear map of phi_e is a sum over its inputs: what depends on one spot is made once a spot.
        w_i, w_j, w_x, w_a = self.edge_in.weight.split([d, d, 1, y.shape[1]], dim=1)
        of_y = y @ w_a.T
        own = z @ w_i.T + self.edge_in.bias - of_y
        theirs = z @ w_j.T + of_y

        def received(rows: slice) -> Tensor:
            squared = graph.edges[rows, :, 0, 2, None].square()  # (m, K, 1)
            hidden = own[rows, None] + take(theirs, graph.index[rows]) + squared * w_x.T
            messages = F.silu(self.edge_out(self.dropout(F.silu(hidden))))
            return (messages * graph.present[rows, :, None]).sum(dim=1)

        m = in_blocks(received, M, self.block_spots)
        return self.node_out(self.dropout(F.silu(self.node_in(torch.cat([z, m], dim=-1)))))
