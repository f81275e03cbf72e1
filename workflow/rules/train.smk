# Training: the folds and the genes of each, one model a run, and its predictions of the test slides.


rule splits:
    input:
        code=CODE("splits"),
    output:
        PATHS.splits("{benchmark}"),
    log:
        LOGS / "splits/{benchmark}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(1000),
        runtime=growing(5),
    params:
        manifest=lambda wildcards: PLAN.manifest(wildcards.benchmark),
        by_slide=lambda wildcards: PLAN.by_slide(wildcards.benchmark),
        folds=lambda wildcards: PLAN.describe_splits(wildcards.benchmark),
        datasets=lambda wildcards: comma(CONFIG.datasets(wildcards.benchmark)),
        protocols=comma(CONFIG.protocols),
    message:
        "Write the folds of {wildcards.benchmark}."
    shell:
        "stflow splits --manifest {params.manifest:q} --datasets {params.datasets:q} --protocols {params.protocols}"
        " --out {output:q} {params.by_slide} > {log:q} 2>&1"


rule genes:
    input:
        lambda wildcards: PLAN.gene_lists(**wildcards),
        slides=lambda wildcards: PLAN.slide_paths(
            wildcards.benchmark, PLAN.slides(wildcards.benchmark, wildcards.dataset)
        ),
        code=CODE("genes"),
    output:
        PATHS.genes("{benchmark}", "{dataset}", "{protocol}"),
    log:
        LOGS / "genes/{benchmark}/{dataset}/{protocol}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=lambda wildcards, attempt: NEEDS.slides_mb(
            wildcards.benchmark, PLAN.slides(wildcards.benchmark, wildcards.dataset), attempt
        ),
        runtime=growing(30),
    params:
        results=constant(str(RESULTS)),
        manifest=lambda wildcards: PLAN.manifest(wildcards.benchmark),
        by_slide=lambda wildcards: PLAN.by_slide(wildcards.benchmark),
        folds=lambda wildcards: PLAN.describe_folds(**wildcards),
        choice=lambda wildcards: PLAN.gene_choice(wildcards.benchmark, wildcards.protocol),
        n_genes=lambda wildcards: PLAN.n_genes(wildcards.benchmark),
        recipe=lambda wildcards: PLAN.gene_recipe(wildcards.benchmark),
        gene_list=lambda wildcards: option("--gene-list", *PLAN.gene_lists(**wildcards)),
    message:
        "Choose the genes of {wildcards.benchmark}/{wildcards.dataset} for the {wildcards.protocol} protocol."
    shell:
        "stflow genes --results {params.results:q} --benchmark {wildcards.benchmark} --dataset {wildcards.dataset:q}"
        " --protocol {wildcards.protocol} --manifest {params.manifest:q} --out {output:q}"
        " --choice {params.choice} --n-genes {params.n_genes} --recipe {params.recipe} {params.gene_list}"
        " {params.by_slide} > {log:q} 2>&1"


rule train:
    input:
        # One function for all of these, as Snakemake's time for one call outweighs what it asks.
        unpack(training_inputs),
        genes=PATHS.genes("{benchmark}", "{dataset}", "{protocol}"),
        code=CODE("train", "{method}"),
    output:
        model=PATHS.model(RUN),
        history=PATHS.history(RUN),
        facts=PATHS.run_json(RUN),
    log:
        LOGS / f"train/{RUN}.log",
    conda:
        ENVIRONMENT
    threads: CONFIG.training.threads
    resources:
        gpu=lambda wildcards: PLAN.options.gpus(METHODS.get(wildcards.method)),
        mem_mb=lambda wildcards, attempt: NEEDS.train_mb(run_of(wildcards), attempt),
        runtime=lambda wildcards, attempt: NEEDS.train_min(run_of(wildcards), attempt),
    params:
        timing=str(PATHS.timing("train", RUN)),
        results=constant(str(RESULTS)),
        run=str(RUN),
        options=lambda wildcards: PLAN.options.training(run_of(wildcards)),
        fold=lambda wildcards: PLAN.describe(run_of(wildcards)),
        threads=CONFIG.training.threads,
    message:
        "Train {params.run}."
    shell:
        "stflow --gpus {resources.gpu} --timing {params.timing:q}"
        " train --results {params.results:q} --run {params.run:q} --threads {params.threads} {params.options}"
        " > {log:q} 2>&1"


# A variant that differs from another only in how it samples has no training of its own.
rule predict:
    input:
        unpack(prediction_inputs),
        genes=PATHS.genes("{benchmark}", "{dataset}", "{protocol}"),
        code=CODE("predict", "{method}"),
    output:
        PATHS.predictions(RUN),
    log:
        LOGS / f"predict/{RUN}.log",
    conda:
        ENVIRONMENT
    threads: CONFIG.training.threads
    resources:
        gpu=lambda wildcards: PLAN.options.gpus(METHODS.get(wildcards.method)),
        mem_mb=lambda wildcards, attempt: NEEDS.predict_mb(run_of(wildcards), attempt),
        runtime=lambda wildcards, attempt: NEEDS.predict_min(run_of(wildcards), attempt),
    params:
        timing=str(PATHS.timing("predict", RUN)),
        results=constant(str(RESULTS)),
        run=str(RUN),
        options=lambda wildcards: PLAN.options.prediction(run_of(wildcards)),
        threads=CONFIG.training.threads,
    message:
        "Predict with {params.run}."
    shell:
        "stflow --gpus {resources.gpu} --timing {params.timing:q}"
        " predict --results {params.results:q} --run {params.run:q} --threads {params.threads} {params.options}"
        " > {log:q} 2>&1"
