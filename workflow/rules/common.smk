import gc
import os
import sys
from functools import partial
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

from stflow.config import validate as check_config
from stflow.data.known_patients import KNOWN
from stflow.data.hub.lock import COMMIT_NAME
from stflow.errors import StflowError
from stflow.io import require_past, require_writable
from stflow.job_resources import JobResources, growing
from stflow.layout import TILES, Group, Run
from stflow.lease import SHARE_VARIABLE, gpu_limit
from stflow.models import METHODS
from stflow.plan_encoders import closed_encoders
from stflow.plan_exports import NOTHING_TO_EXPORT, ExportPlan
from stflow.plan_search import NOTHING_TO_SEARCH, Case
from stflow.preload.server import start as start_server
from stflow.shell import asked_to_keep_going, comma, free_name, option, put_on_path, relative
from stflow.stamps import config_record, recorded_not_run, stamp, write_stamps
from stflow.plan_figures import BIOMARKER
from stflow.workflow import Plan

# Planning makes millions of small objects that all stay; looking for garbage among them again and again takes a fifth of
# the time.
gc.set_threshold(200_000, 50, 50)

# Commands find `stflow` beside the interpreter that runs Snakemake, also where its environment is not activated. An
# environment that Snakemake activates for a rule still comes first.
put_on_path(Path(sys.executable).parent)

try:
    CONFIG = check_config(config)
    if not workflow.is_main_process:  # a job elsewhere plans as the process that sent it did
        CONFIG = CONFIG.leaving_out(recorded_not_run(CONFIG.results))
    elif asked_to_keep_going(sys.argv):
        CONFIG = CONFIG.leaving_out(closed_encoders(CONFIG))
    PLAN = Plan(CONFIG)
    write_stamps(CONFIG)
    PLAN.write_hub_request()
except StflowError as error:
    raise WorkflowError(str(error)) from None
validate(config, "../schemas/config.schema.json")

os.environ[SHARE_VARIABLE] = str(CONFIG.training.jobs_per_gpu)

PATHS = PLAN.layout
NEEDS = JobResources(PLAN)
SEARCH = PLAN.search
RESULTS = CONFIG.results
LOGS = RESULTS / "logs"
TIMINGS = RESULTS / "timings"
CODE = partial(stamp, RESULTS)
ENVIRONMENT = "../../envs/stflow.yaml"

# Encoders that are left out, for the tables.
NOT_RUN = option("--not-run", *(f"{name}={why}" for name, why in CONFIG.not_run.items()))

# What was run otherwise than in the paper, so that a printed number is not of the same thing.
NOT_SAME = option("--not-same", *(f"{name}={why}" for name, why in PLAN.paper.not_same().items()))

# The paper's tables with printed numbers to compare: the summary counts their verdicts.
PAPER_TABLES = sorted(["table1", *PLAN.paper.tables, "table6"], key=lambda name: int(name.removeprefix("table")))

# One group and one run as path patterns.
GROUP = Group("{benchmark}", "{dataset}", "{encoder}", "{method}", "{variant}", "{protocol}")
RUN = Run(GROUP, "{fold}", "{seed}")


def constant(value):
    """A parameter that is the same for all jobs of a rule. Folders are given this way: they lie on a shared disk."""
    return lambda wildcards: value


def group_of(wildcards):
    """The group that a job's wildcards name."""
    names = ("benchmark", "dataset", "encoder", "method", "variant", "protocol")
    return Group(*(wildcards[name] for name in names))


def run_of(wildcards):
    """The run that a job's wildcards name."""
    return group_of(wildcards).run(int(wildcards.fold), int(wildcards.seed))


def training_inputs(wildcards):
    """Files of the slides that a training reads, and weights that it starts from. A clean one waits for the audit, which
    stops it if its fold leaks; that file is ancient, so that an audit which is made again trains nothing again."""
    return inputs_of_training(run_of(wildcards))


def inputs_of_training(run):
    """The same, of a run."""
    slides = PLAN.learning_slides(run)
    return {
        "slides": PLAN.slide_paths(run.group.benchmark, slides),
        "features": PLAN.feature_paths(run.group.encoder, run.group.benchmark, slides),
        "tiles": PLAN.method_tile_paths(run.group, slides),
        "weights": PLAN.encoders.method_weights(run.group.method, run.group.variant),
        "audit": [ancient(path) for path in PLAN.audits(run.group)],
    }


def table_files(name):
    """A table in all its forms."""
    return [PATHS.table(name, suffix) for suffix in ("csv", "md", "html", "tex")]


def table_caption(table):
    """The caption of a table in the report: that of its kind."""
    kind = table.partition("/")[0]
    text = (Path(workflow.basedir) / "report" / f"{kind}.rst").read_text(encoding="utf-8")
    return text.replace("{name}", table.partition("/")[2])


def table_label(table):
    """What a table is called in the report."""
    kind, _, name = table.partition("/")
    word = f"Table {kind.removeprefix('table')}" if kind.startswith("table") else kind.replace("_", " ").capitalize()
    return f"{word}: {name}" if name else word


def table_category(table):
    """Under what the report lists a table."""
    apart = {"audit": "Audit", "summary": "Summary", "runs": "Provenance", "provenance": "Provenance"}
    return apart.get(table, "Tables")


def case_of(wildcards):
    """The search that a job belongs to."""
    return Case(wildcards.benchmark, wildcards.dataset, wildcards.encoder, wildcards.method)


def searched_run(wildcards):
    """The training that the candidates of a job stand in for."""
    return SEARCH.run(case_of(wildcards), int(wildcards.fold))


def trial_inputs(wildcards):
    """What the trainings of a search's job read: the training and select slides of its fold, and no others."""
    return inputs_of_training(searched_run(wildcards))


def prediction_inputs(wildcards):
    """The model, and the files of the test slides."""
    run = run_of(wildcards)
    slides, trained = PLAN.fold(run).test, PLAN.trained_as(run)
    return {
        "model": PATHS.model(trained),
        "facts": PATHS.run_json(trained),
        "slides": PLAN.slide_paths(run.group.benchmark, slides),
        "features": PLAN.feature_paths(run.group.encoder, run.group.benchmark, slides),
        "tiles": PLAN.method_tile_paths(run.group, slides),
    }


def require_usable_files():
    """Say before any job runs what it would end with: results that cannot be written, inputs dated in the future."""
    jobs = list(workflow.dag.needrun_jobs())
    made = {str(file) for job in jobs for file in job.output}
    try:
        require_writable(RESULTS)
        require_past({str(file) for job in jobs for file in job.input} - made)
    except StflowError as error:
        raise WorkflowError(str(error)) from None


def keep_to_visible_gpus():
    """Start no more jobs with GPUs on this machine than can have one; without any, they run on the CPU or not at all."""
    try:
        limit = gpu_limit(CONFIG.training.device, CONFIG.training.jobs_per_gpu)
    except StflowError as error:
        raise WorkflowError(str(error)) from None
    allowed = workflow.scheduler.resources
    if limit is not None and "gpu" in allowed:
        allowed["gpu"] = min(allowed["gpu"], limit)


# Figures whose rows are maps, of those with something to draw, and how maps look.
MAP_FIGURES = [name for name in ("figure4", "figure7") if PLAN.figures.maps(name)]
MAP_LOOK = f"--colormap {CONFIG.figures.colormap} --width {CONFIG.figures.width}"
# Methods whose time and memory are measured: `method/variant` -> as the command takes it.
MEASURED = PLAN.options.measured()


def biomarker_of(wildcards):
    """The map of one gene that a job draws."""
    return PLAN.figures.biomarker(wildcards.benchmark, wildcards.slide, wildcards.gene)


def all_cores(wildcards):
    """Cores for a job beside which nothing else may run; on a cluster, and in a job of one, those of a training."""
    here = not workflow.remote_exec and workflow.resource_settings.cores
    return here or CONFIG.training.threads


def encoded_slides(wildcards):
    """The slide of a job, or those of one that encodes several."""
    if "slide" in wildcards.keys():
        return [wildcards.slide]
    return PLAN.encoders.parts(wildcards.encoder, wildcards.benchmark)[wildcards.part]


def embedding_inputs(wildcards):
    """Tiles of the slides, or the features that a slide encoder reads in their place; their images where the encoder
    reads what lies around tiles; and the encoder's weights."""
    encoder, benchmark, slides = wildcards.encoder, wildcards.benchmark, encoded_slides(wildcards)
    weights = PLAN.encoders.weights(encoder)
    return {
        "source": PLAN.encoded_from(encoder, benchmark, slides),
        "slides": PLAN.slide_paths(benchmark, slides),
        "images": PLAN.embedded_images(encoder, benchmark, slides),
        "weights": [] if weights is None else [weights],
    }


def embedding_min(wildcards, attempt):
    """Minutes that a job which encodes slides asks for."""
    return NEEDS.embed_min(wildcards.encoder, wildcards.benchmark, encoded_slides(wildcards), attempt)


def embedding_options(wildcards):
    """What a job that encodes slides is told."""
    encoder, benchmark, slides = wildcards.encoder, wildcards.benchmark, encoded_slides(wildcards)
    images = PLAN.embedded_images(encoder, benchmark, slides)
    return PLAN.encoders.options(encoder, benchmark, slides, images)


def one_of(names):
    """A wildcard constraint that takes just these names."""
    return "|".join(re.escape(name) for name in dict.fromkeys(names)) or "(?!)"


wildcard_constraints:
    benchmark=one_of(CONFIG.benchmarks),
    dataset=one_of(PLAN.datasets()),
    encoder=one_of([*PLAN.encoders.names, TILES]),
    method=one_of(method for method, _ in PLAN.methods),
    variant=one_of(PLAN.variants()),
    protocol=one_of(CONFIG.protocols),
    fold=r"\d+",
    seed=r"\d+",
    slide=r"[^/]+",
    part=r"[^/]+\.\d+",
    gene=r"[^/]+",
    table=r"[\w/]+",
