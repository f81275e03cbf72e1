"""The demo's recipe: every name and number that the made slides follow. docs/demo.md explains them.

Two benchmarks: ``demo_hest`` in the layout of HEST-1k and hest-bench, ``demo_stimage`` in that of STImage-1K4M.
"""

from __future__ import annotations

from dataclasses import dataclass

from stflow.errors import DataError

#: Seed of everything; all generators are named after (seed, benchmark, slide, purpose).
SEED = 2025

# -- geometry ------------------------------------------------------------------------------------------------
SIZE_UM = 2100.0  # side of a slide
PITCH_UM = 100.0  # between neighbouring spots of the hexagonal grid
SPOT_UM = 55.0  # diameter of a spot
TILE_UM = 112.0  # side of the tile around a spot
TILE_PX = 224  # side of that tile as encoders see it
MIN_TISSUE = 0.15  # a tile is kept if this share of it is tissue
FIELD_UM = 10.0  # grid step of the compartment fields

# -- senders -------------------------------------------------------------------------------------------------
SENDER_RATE = 0.20  # share of spots that hold a sender of one kind; a spot holds at most one
SENDER_STRENGTH = (0.6, 1.0)  # a present sender's strength is uniform in this range, an absent one's is 0
SENDER_RADIUS_UM = 25.5  # all that is drawn of a sender lies within this distance of the spot's centre
REACH_UM = 29.5  # nuclei and vessels make room for a sender only if they lie wholly within this distance
SLOT_UM = 7.2  # pitch of the places in a sender where a nucleus, clump or vacuole can be


@dataclass(frozen=True, slots=True)
class Sender:
    """A kind of cell cluster: what it looks like, what it expresses, which genes its neighbours answer with."""

    name: str
    looks: str
    ligands: tuple[str, ...]
    receivers: tuple[str, ...]


SENDERS = (
    Sender(
        "lymphoid",
        "cluster of small, round, dark nuclei",
        ("CCL19", "CXCL13"),
        ("CXCL9", "CXCL10", "GBP1", "IDO1", "IFI27", "ISG15", "STAT1"),
    ),
    Sender(
        "siderophage",
        "macrophages full of brown pigment",
        ("HMOX1", "SPP1"),
        ("FTH1", "FTL", "MT1X", "MT2A", "NQO1", "SLC40A1", "TFRC"),
    ),
    Sender(
        "foam",
        "macrophages full of clear, round vacuoles",
        ("LPL", "PLIN2"),
        ("ACACA", "FASN", "HMGCS1", "LDLR", "SCD", "SREBF1"),
    ),
)

#: Log fold change of a ligand in a spot whose own sender has strength 1.
LIGAND_EFFECT = 2.2
#: Log fold change of a receiver when all neighbours hold a sender of strength 1 against none.
RECEIVER_EFFECT = 5.5
#: Some receivers answer to a second kind as well: gene -> (kind, share of RECEIVER_EFFECT).
CROSS_EFFECTS = {
    "IDO1": ("siderophage", -0.5),
    "CXCL10": ("foam", 0.4),
    "TFRC": ("lymphoid", -0.5),
    "MT2A": ("foam", 0.4),
    "SCD": ("siderophage", -0.5),
    "LDLR": ("lymphoid", 0.4),
}

INTERACTION = tuple(sorted(gene for sender in SENDERS for gene in sender.receivers))
LIGANDS = tuple(sorted(gene for sender in SENDERS for gene in sender.ligands))
BIOMARKERS = ("ERBB2", "GATA3", "UBE2C", "VWF")

# -- genes that follow what the spot's own tile shows ----------------------------------------------------------
COMPARTMENTS = ("tumour", "stroma", "immune", "fat")
#: Their usual shares of the tissue.
COMPARTMENT_SHARES = (0.34, 0.46, 0.09, 0.11)
#: Smooth fields that change how a compartment looks: grade enlarges and darkens tumour nuclei, her2 makes tumour
#: cytoplasm eosinophilic, vessels puts capillaries into the stroma.
MODIFIERS = ("grade", "her2", "vessels")

#: Mean counts over a slide of usual make-up, relative level in each of COMPARTMENTS, log fold change a unit (1 SD) of
#: each of MODIFIERS.
MORPHOLOGY_LEVELS: dict[str, tuple[float, tuple[float, float, float, float], tuple[float, float, float]]] = {
    "EPCAM": (1.8, (1.0, 0.04, 0.08, 0.03), (0.0, 0.0, 0.0)),
    "GATA3": (2.1, (1.0, 0.04, 0.08, 0.03), (-0.2, 0.0, 0.0)),
    "KRT19": (4.6, (1.0, 0.06, 0.08, 0.04), (0.0, 0.2, 0.0)),
    "ERBB2": (3.1, (1.0, 0.12, 0.10, 0.10), (0.0, 0.8, 0.0)),
    "UBE2C": (2.3, (1.0, 0.12, 0.30, 0.05), (0.8, 0.0, 0.0)),
    "TOP2A": (3.0, (1.0, 0.10, 0.35, 0.05), (0.8, 0.0, 0.0)),
    "MKI67": (4.0, (1.0, 0.10, 0.45, 0.05), (0.7, 0.0, 0.0)),
    "COL1A1": (6.4, (0.02, 1.0, 0.08, 0.10), (0.0, 0.0, 0.0)),
    "COL3A1": (5.4, (0.02, 1.0, 0.08, 0.15), (0.0, 0.0, 0.0)),
    "VWF": (2.7, (0.10, 1.0, 0.35, 0.40), (0.0, 0.0, 0.8)),
    "PECAM1": (3.7, (0.12, 1.0, 0.40, 0.50), (0.0, 0.0, 0.7)),
    "CD3E": (1.35, (0.08, 0.15, 1.0, 0.05), (0.0, 0.0, 0.0)),
    "MS4A1": (1.0, (0.05, 0.10, 1.0, 0.05), (0.0, 0.0, 0.0)),
    "PTPRC": (1.6, (0.04, 0.10, 1.0, 0.05), (0.0, 0.0, 0.0)),
    "ADIPOQ": (0.9, (0.03, 0.08, 0.03, 1.0), (0.0, 0.0, 0.0)),
    "FABP4": (1.2, (0.04, 0.12, 0.04, 1.0), (0.0, 0.0, 0.2)),
}
MORPHOLOGY = tuple(sorted((*MORPHOLOGY_LEVELS, *LIGANDS)))

# -- genes that follow neither ---------------------------------------------------------------------------------
#: Genes of handling and sex: they vary between patients and slides, not within a slide.
BATCH = ("DUSP1", "EGR1", "FOS", "HSPA1A", "HSPA1B", "JUN", "RPS4Y1", "XIST")
#: Seen in fewer than a tenth of spots: HEST's gene filter drops them.
RARE = (
    "CALCA", "CGA", "GAST", "GCG", "INS", "KLK3", "NPY", "POMC", "PPY", "PRL", "SST", "TG",
)  # fmt: skip
_HOUSEKEEPING = """
ACTB ACTG1 ALDOA ANXA2 AP2M1 ARF1 ARPC2 ATF4 ATP5F1B ATP5MC3 ATP6V1B2 B2M BSG BTF3 CALM1 CALR CANX CAP1 CCT5
CD63 CD81 CDC42 CFL1 CLTC COPB1 COX4I1 COX6A1 COX7C CSDE1 CTNNB1 CTSB CTSD DAD1 DDX5 DDX6 DNAJB1 DYNLL1 EEF1A1
EEF1G EEF2 EIF1 EIF3D EIF4A1 EIF4G2 ENO1 EZR FAU FLNA G6PD GAPDH GNAS GNB1 GPX4 GUSB H3-3B HNRNPA1 HNRNPK HPRT1
HSP90AA1 HSP90AB1 HSPA5 HSPA8 ITGB1 JTB KPNB1 LAMP1 LDHA LDHB MAPK1 MT-ATP6 MT-CO1 MT-CYB MT-ND4 MYH9 MYL6 NACA
NAP1L1 NCL NPM1 OAZ1 P4HB PABPC1 PCBP1 PDIA3 PFN1 PGAM1 PGK1 PKM POLR2A PPIA PPIB PRDX1 PSAP PSMB4 PSMD4 PTMA
RAB7A RAC1 RACK1 RHOA RPL10 RPL13A RPL3 RPL30 RPL32 RPL41 RPLP0 RPLP1 RPS18 RPS27A RPS3 RPS6 RPSA SDHA SERF2
SF3B1 SLC25A3 SLC25A5 SOD1 SRP14 SRSF3 STAT3 SUMO2 TAPBP TMBIM6 TMSB10 TPI1 TPT1 TUBA1B TUBB UBA52 UBB UBC VCP
VIM XBP1 YWHAZ ZFP36L1
"""
HOUSEKEEPING = tuple(_HOUSEKEEPING.split())

# -- counts ----------------------------------------------------------------------------------------------------
CATCHMENT_UM = 27.5  # SD of the Gaussian over which a spot's compartments are averaged
INTERACTION_MEAN = (4.0, 14.0)  # mean counts of spots inside the tissue; each group is evenly spread in log1p
LIGAND_MEAN = (1.8, 4.6)
HOUSEKEEPING_MEAN = (0.5, 20.0)
BATCH_MEAN = (0.4, 1.2)
RARE_MEAN = (0.01, 0.05)
AMBIENT = 0.06  # level, relative to the tissue, of a spot that lies off the tissue
DEPTH_SD = 0.22  # of the log library size over spots
PATIENT_GENE_SD = 0.12  # of the log factor of a gene in a patient
SLIDE_GENE_SD = 0.05  # of the log factor of a gene in a slide
BATCH_GENE_SD = 0.4  # of either, for BATCH genes
DISPERSION = (6.0, 10.0)  # size of the negative binomial: variance = mean + mean^2 / size
DROPOUT = (0.04, 0.08)  # share of counts that are set to zero, by gene


@dataclass(frozen=True, slots=True)
class Patient:
    """Scanner and laboratory of one patient.

    mpp is um per level-0 px; haematoxylin and eosin scale the stains' strength; hue turns the stain vectors (rad);
    light is the glass's RGB; blur is the scanner's (SD, um); noise is the sensor's (SD, grey levels); depth scales
    the library size.
    """

    name: str
    mpp: float
    haematoxylin: float
    eosin: float
    hue: float
    light: tuple[float, float, float]
    blur_um: float
    noise: float
    depth: float


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One demo benchmark: its dataset, patients, and the patient of every slide."""

    name: str
    dataset: str
    patients: tuple[Patient, ...]
    slides: dict[str, str]

    def patient(self, slide: str) -> Patient:
        """The patient of a slide.

        Raises
        ------
        DataError
            The benchmark has no such slide.
        """
        if slide not in self.slides:
            raise DataError(f"{self.name} has no slide {slide!r}. Its slides are {', '.join(self.slides)}.")
        return next(patient for patient in self.patients if patient.name == self.slides[slide])


_STIMAGE = "Human_Breast_Demo_11232026_Visium_"

BENCHMARKS = {
    "demo_hest": Benchmark(
        "demo_hest",
        "DEMO_IDC",
        (
            Patient("demo patient 1", 0.5022, 1.00, 1.00, 0.00, (243.0, 242.0, 244.0), 0.25, 2.0, 1.00),
            Patient("demo patient 2", 0.4746, 1.12, 0.90, 0.05, (238.0, 236.0, 241.0), 0.35, 2.5, 0.85),
            Patient("demo patient 3", 0.5263, 0.90, 1.10, -0.05, (246.0, 244.0, 243.0), 0.30, 1.5, 1.20),
            Patient("demo patient 4", 0.5492, 1.05, 1.05, 0.03, (240.0, 240.0, 240.0), 0.45, 2.0, 0.95),
        ),
        {f"DEMO{patient}{section}": f"demo patient {patient}" for patient in (1, 2, 3, 4) for section in ("A", "B")},
    ),
    "demo_stimage": Benchmark(
        "demo_stimage",
        "DEMO_Breast",
        (
            Patient("demo patient 5", 0.8021, 1.00, 1.00, 0.02, (242.0, 241.0, 243.0), 0.40, 2.0, 1.05),
            Patient("demo patient 6", 0.8797, 1.10, 0.95, -0.03, (240.0, 237.0, 242.0), 0.50, 2.0, 0.90),
            Patient("demo patient 7", 0.7455, 0.92, 1.08, -0.02, (245.0, 243.0, 244.0), 0.45, 1.5, 1.10),
            Patient("demo patient 8", 0.8464, 1.04, 1.02, 0.04, (241.0, 241.0, 242.0), 0.45, 2.0, 1.00),
        ),
        {
            f"{_STIMAGE}P5A": "demo patient 5",
            f"{_STIMAGE}P5B": "demo patient 5",
            f"{_STIMAGE}P6A": "demo patient 6",
            f"{_STIMAGE}P6B": "demo patient 6",
            f"{_STIMAGE}P7A": "demo patient 7",
            f"{_STIMAGE}P8A": "demo patient 8",
        },
    ),
}


def benchmark(name: str) -> Benchmark:
    """The demo benchmark of that name.

    Raises
    ------
    DataError
        There is no such demo benchmark.
    """
    if name not in BENCHMARKS:
        raise DataError(f"no demo benchmark {name!r}. There are {', '.join(BENCHMARKS)}.")
    return BENCHMARKS[name]
