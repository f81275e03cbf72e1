# Features: the tiles of slides through an encoder; of a slide encoder, the features of its tile encoder.


rule embed:
    input:
        unpack(embedding_inputs),
        code=CODE("embed", "{encoder}"),
    output:
        PATHS.features("{encoder}", "{benchmark}", "{slide}"),
    log:
        LOGS / "embed/{encoder}/{benchmark}/{slide}.log",
    benchmark:
        TIMINGS / "embed/{encoder}/{benchmark}/{slide}.tsv"
    wildcard_constraints:
        encoder=one_of(PLAN.encoders.one_slide_a_job()),
    conda:
        ENVIRONMENT
    threads: CONFIG.embedding.threads
    resources:
        gpu=lambda wildcards: int(PLAN.encoders.uses_gpu(wildcards.encoder)),
        mem_mb=lambda wildcards: PLAN.encoders.mem_mb(wildcards.encoder),
        runtime=120,
    params:
        options=lambda wildcards: PLAN.embedding_options(wildcards.encoder, wildcards.benchmark, [wildcards.slide]),
        threads=CONFIG.embedding.threads,
    message:
        "Embed the tiles of {wildcards.benchmark}/{wildcards.slide} with {wildcards.encoder}."
    shell:
        "stflow embed {params.options} --code-stamp {input.code:q} --threads {params.threads} > {log:q} 2>&1"


# Where the weights take as long to load as a slide takes to encode, several slides share a job. What such a job has
# done survives it: one that is started again, for one missing file or after a crash, encodes only what is not there.
for shard in PLAN.shards():

    rule:
        name:
            f"embed_{shard.name}"
        input:
            **inputs_of_embedding(shard.encoder, shard.benchmark, shard.slides),
            code=CODE("embed", shard.encoder),
        output:
            PLAN.feature_paths(shard.encoder, shard.benchmark, shard.slides),
        log:
            LOGS / f"embed/{shard.encoder}/{shard.benchmark}/part{shard.number}.log",
        benchmark:
            TIMINGS / f"embed/{shard.encoder}/{shard.benchmark}/part{shard.number}.tsv"
        conda:
            ENVIRONMENT
        threads: CONFIG.embedding.threads
        resources:
            gpu=int(PLAN.encoders.uses_gpu(shard.encoder)),
            mem_mb=PLAN.encoders.mem_mb(shard.encoder),
            runtime=120 * len(shard.slides),
        params:
            options=PLAN.embedding_options(shard.encoder, shard.benchmark, shard.slides),
            threads=CONFIG.embedding.threads,
        message:
            f"Embed the tiles of {len(shard.slides)} slides of {shard.benchmark} with {shard.encoder}."
        shell:
            "stflow embed {params.options} --code-stamp {input.code:q} --threads {params.threads} > {log:q} 2>&1"
