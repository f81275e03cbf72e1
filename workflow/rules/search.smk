# The search for settings: candidates of a grid train on the clean protocol's folds and are compared on select slides.
# A later rung trains the best of the rung before, which it reads from a ranking by place: how many go on is known
# beforehand, so there are no checkpoints, and a dry run counts every job.

from stflow.search.estimate import estimate

SEARCH_FOLD = PATHS.search_fold("{benchmark}", "{dataset}", "{encoder}", "{method}", "{fold}")
SEARCH_CHOICE = PATHS.search_choice("{benchmark}", "{dataset}", "{encoder}", "{method}")

# Told before anything starts, in a dry run too. Targets are not known to Snakemake yet while it reads this.
if workflow.is_main_process and "search" in sys.argv:
    on_gpu = any(PLAN.options.gpus(METHODS.get(method)) for method in SEARCH.methods())
    limit = workflow.global_resources.get("gpu" if on_gpu else "_cores")
    print(estimate(PLAN, (limit and limit.value) or 8), file=sys.stderr, flush=True)


rule search_slice:
    input:
        unpack(trial_inputs),
        genes=PATHS.genes("{benchmark}", "{dataset}", "clean"),
        code=CODE("search-trials", "{method}"),
    output:
        # `candidates` is the wildcard of the method's parameter space, PLAN.search.paramspace(method).
        SEARCH_FOLD / "rung0" / "{candidates}.json",
    log:
        LOGS / "search/{benchmark}/{dataset}/{encoder}/{method}/fold{fold}/rung0/{candidates}.log",
    wildcard_constraints:
        candidates=r".+",
    conda:
        ENVIRONMENT
    threads: CONFIG.training.threads
    resources:
        gpu=lambda wildcards: PLAN.options.gpus(METHODS.get(wildcards.method)),
        mem_mb=lambda wildcards, attempt: NEEDS.train_mb(searched_run(wildcards), attempt),
        runtime=growing(1440),
    params:
        results=constant(str(RESULTS)),
        run=lambda wildcards: str(searched_run(wildcards)),
        options=lambda wildcards: SEARCH.training(case_of(wildcards), int(wildcards.fold), 0),
        grid=lambda wildcards: SEARCH.slice_grid(wildcards.method, wildcards),
        fold=lambda wildcards: PLAN.describe(searched_run(wildcards)),
        threads=CONFIG.training.threads,
    message:
        "Try {wildcards.candidates} on {params.run}."
    shell:
        "stflow --gpus {resources.gpu}"
        " search trials --results {params.results:q} --run {params.run:q} --threads {params.threads}"
        " {params.options} --grid {params.grid:q} --out {output:q} > {log:q} 2>&1"


rule search_rung:
    input:
        unpack(trial_inputs),
        genes=PATHS.genes("{benchmark}", "{dataset}", "clean"),
        code=CODE("search-trials", "{method}"),
        ranking=lambda wildcards: SEARCH.ranking(case_of(wildcards), int(wildcards.fold), int(wildcards.rung) - 1),
    output:
        SEARCH_FOLD / "rung{rung}" / "places{places}.json",
    log:
        LOGS / "search/{benchmark}/{dataset}/{encoder}/{method}/fold{fold}/rung{rung}/places{places}.log",
    wildcard_constraints:
        rung=r"[1-9]\d*",
        places=r"\d+-\d+",
    conda:
        ENVIRONMENT
    threads: CONFIG.training.threads
    resources:
        gpu=lambda wildcards: PLAN.options.gpus(METHODS.get(wildcards.method)),
        mem_mb=lambda wildcards, attempt: NEEDS.train_mb(searched_run(wildcards), attempt),
        runtime=growing(1440),
    params:
        results=constant(str(RESULTS)),
        run=lambda wildcards: str(searched_run(wildcards)),
        options=lambda wildcards: SEARCH.training(case_of(wildcards), int(wildcards.fold), int(wildcards.rung)),
        fold=lambda wildcards: PLAN.describe(searched_run(wildcards)),
        threads=CONFIG.training.threads,
    message:
        "Try candidates {wildcards.places} of rung {wildcards.rung} on {params.run}."
    shell:
        "stflow --gpus {resources.gpu}"
        " search trials --results {params.results:q} --run {params.run:q} --threads {params.threads}"
        " {params.options} --ranking {input.ranking:q} --places {wildcards.places} --out {output:q} > {log:q} 2>&1"


rule search_ranking:
    input:
        trials=lambda wildcards: SEARCH.trials(case_of(wildcards), int(wildcards.fold), int(wildcards.rung)),
        ranking=lambda wildcards: SEARCH.rankings_before(case_of(wildcards), int(wildcards.fold), int(wildcards.rung)),
        code=CODE("search-rank"),
    output:
        SEARCH_FOLD / "ranking{rung}.json",
    log:
        LOGS / "search/{benchmark}/{dataset}/{encoder}/{method}/fold{fold}/ranking{rung}.log",
    wildcard_constraints:
        rung=r"\d+",
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        grid=lambda wildcards: SEARCH.grid(wildcards.method),
        ranking=lambda wildcards, input: option("--ranking", *input.get("ranking", [])),
    message:
        "Rank the candidates of {wildcards.method} on fold {wildcards.fold} of {wildcards.benchmark}/{wildcards.dataset}"
        " after rung {wildcards.rung}."
    shell:
        "stflow search rank {input.trials:q} --rung {wildcards.rung} --grid {params.grid:q} {params.ranking}"
        " --out {output:q} > {log:q} 2>&1"


rule search_choice:
    input:
        rankings=lambda wildcards: SEARCH.rankings(case_of(wildcards)),
        code=CODE("search-choose"),
    output:
        SEARCH_CHOICE,
    log:
        LOGS / "search/{benchmark}/{dataset}/{encoder}/{method}.log",
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        folds=CONFIG.search.folds,
        base=lambda wildcards: SEARCH.base(wildcards.method),
    message:
        "Choose settings of {wildcards.method} for {wildcards.benchmark}/{wildcards.dataset}, {wildcards.encoder}."
    shell:
        "stflow search choose {input.rankings:q} --folds {params.folds} --base {params.base:q} --out {output:q} > {log:q} 2>&1"


rule search:
    """Settings of every method that has a grid, chosen on select slides, in one file."""
    input:
        choices=SEARCH.choices(),
        code=CODE("search-choose"),
    output:
        PATHS.search_chosen,
    log:
        LOGS / "search/chosen.log",
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        folds=CONFIG.search.folds,
    message:
        "Write the chosen settings."
    shell:
        "stflow search write {input.choices:q} --folds {params.folds} --out {output:q} > {log:q} 2>&1"
