"""STFlow's built-in variants: the paper's ablations by name, each as the settings that differ from the method's own.

Names and settings alone: what a variant computes is decided by the settings, which the workflow passes to its commands.
"""

from __future__ import annotations

from collections.abc import Mapping

#: ZINB parameters of table 13; (0.1, 1) is the default and has no name of its own.
_MU, _PHI = (0.1, 0.2, 0.4), (1.0, 2.0, 4.0)
_DEFAULT_ZINB = (0.1, 1.0)

VARIANTS: Mapping[str, Mapping[str, object]] = {
    # Tables 4 and 9. The paper's cells without flow matching are those of one sampling step in table 5.
    "wo_fm": {"steps": 1},
    # The same, and trained as what it is: every training sample at t = 0.
    "wo_fm_trained": {"flow_time": "zero", "steps": 1},
    # Without frame averaging, "standard attention without spatial information": the paper's attention without
    # positions, or the textbook's.
    "wo_fa": {"architecture": "no_frames"},
    "wo_fa_dot": {"architecture": "dot_product"},
    # Tables 3 and 11: other networks in place of the attention.
    "egnn": {"architecture": "egnn"},
    "e2cnn": {"architecture": "e2cnn", "layers": 1},
    # Table 10: where the flow starts.
    "prior_zero": {"prior": "zero"},
    "prior_gaussian": {"prior": "gaussian"},
    # Table 13: the ZINB's parameters.
    **{
        f"zinb_{mu:g}_{phi:g}": {"prior": "zinb", "prior_mu": mu, "prior_phi": phi}
        for mu in _MU
        for phi in _PHI
        if (mu, phi) != _DEFAULT_ZINB
    },
    # Table 5: sampling steps of one and the same model.
    **{f"steps_{steps}": {"steps": steps} for steps in (1, 2, 5, 10, 16)},
    # Several draws of the same model, for intervals and their calibration.
    "samples_20": {"samples": 20},
    # As the released code does it where that differs from the paper.
    "released": {
        "prior_mean": "released",
        "prior_transform": "released",
        "times": "released",
        "regions_per_step": 2,
        "edges": "px",
        "region_graph": "region",
    },
}
