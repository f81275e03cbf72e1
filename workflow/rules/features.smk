# Features: a slide's tiles through an encoder.


rule embed:
    input:
        tiles=PATHS.tiles("{benchmark}", "{slide}"),
        slide=PATHS.slide("{benchmark}", "{slide}"),
        code=CODE("embed", "{encoder}"),
    output:
        PATHS.features("{encoder}", "{benchmark}", "{slide}"),
    log:
        LOGS / "embed/{encoder}/{benchmark}/{slide}.log",
    benchmark:
        TIMINGS / "embed/{encoder}/{benchmark}/{slide}.tsv"
    conda:
        ENVIRONMENT
    threads: CONFIG.embedding.threads
    resources:
        gpu=lambda wildcards: PLAN.gpus(ENCODERS.get(wildcards.encoder)),
        mem_mb=8000,
        runtime=120,
    params:
        batch_size=CONFIG.embedding.batch_size,
        precision=CONFIG.embedding.precision,
        threads=CONFIG.embedding.threads,
        device=lambda wildcards: PLAN.device(ENCODERS.get(wildcards.encoder)),
    message:
        "Embed the tiles of {wildcards.benchmark}/{wildcards.slide} with {wildcards.encoder}."
    shell:
        "stflow embed --tiles {input.tiles:q} --slide-file {input.slide:q} --encoder {wildcards.encoder}"
        " --out {output:q} --batch-size {params.batch_size} --precision {params.precision}"
        " --threads {params.threads} --device {params.device} > {log:q} 2>&1"
