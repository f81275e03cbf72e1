"""Encoders: the picture of a spot in, a feature vector out."""

from __future__ import annotations

from stflow.registry import Registry

ENCODERS: Registry = Registry(
    "encoders",
    {
        "classical": "stflow.encoders.classical:Classical",
        "efficientnet_lite0": "stflow.encoders.efficientnet_lite0:EfficientNetLite0",
        # The paper's.
        "ciga": "stflow.encoders.zoo.ciga:Ciga",
        "uni": "stflow.encoders.zoo.uni:UNI",
        "gigapath": "stflow.encoders.zoo.gigapath:GigaPath",
        "gigapath_slide": "stflow.encoders.zoo.gigapath_slide:GigaPathSlide",
        # What they are compared with today.
        "resnet50": "stflow.encoders.zoo.resnet50:ResNet50",
        "densenet121": "stflow.encoders.zoo.densenet121:DenseNet121",
        "ctranspath": "stflow.encoders.zoo.ctranspath:CTransPath",
        "uni2_h": "stflow.encoders.zoo.uni2_h:UNI2H",
        "virchow2": "stflow.encoders.zoo.virchow2:Virchow2",
        "h_optimus_0": "stflow.encoders.zoo.h_optimus_0:HOptimus0",
        "h_optimus_1": "stflow.encoders.zoo.h_optimus_1:HOptimus1",
        "h0_mini": "stflow.encoders.zoo.h0_mini:H0Mini",
        "phikon_v2": "stflow.encoders.zoo.phikon_v2:PhikonV2",
        "hibou_l": "stflow.encoders.zoo.hibou_l:HibouL",
        "conch_v1_5": "stflow.encoders.zoo.conch_v1_5:CONCHv15",
        "midnight": "stflow.encoders.zoo.midnight:Midnight",
    },
)
