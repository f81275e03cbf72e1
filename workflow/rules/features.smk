# Features: the tiles of slides through an encoder; of a slide encoder, the features of its tile encoder.


rule embed:
    input:
        unpack(embedding_inputs),
        code=CODE("embed", "{encoder}"),
    output:
        PATHS.features("{encoder}", "{benchmark}", "{slide}"),
    log:
        LOGS / "embed/{encoder}/{benchmark}/{slide}.log",
    wildcard_constraints:
        encoder=one_of(PLAN.encoders.sharing(False)),
    conda:
        ENVIRONMENT
    threads: lambda wildcards: PLAN.encoders.cores(wildcards.encoder)
    resources:
        gpu=lambda wildcards: int(PLAN.encoders.uses_gpu(wildcards.encoder)),
        mem_mb=lambda wildcards, attempt: PLAN.encoders.mem_mb(wildcards.encoder) * 2 ** (attempt - 1),
        runtime=lambda wildcards, attempt: embedding_min(wildcards, attempt),
    params:
        timing=str(TIMINGS / "embed/{encoder}/{benchmark}/{slide}.tsv"),
        options=embedding_options,
        threads=CONFIG.embedding.threads,
    message:
        "Embed the tiles of {wildcards.benchmark}/{wildcards.slide} with {wildcards.encoder}."
    shell:
        "stflow --gpus {resources.gpu} --timing {params.timing:q}"
        " embed {params.options} --code-stamp {input.code:q} --threads {params.threads} > {log:q} 2>&1"


# On a GPU, weights take as long to load as a slide takes to encode, so several slides share a job. It keeps what it has
# done: one that is started again, after a crash or for a single slide's new tiles, encodes only what is not there.
rule embed_part:
    input:
        unpack(embedding_inputs),
        code=CODE("embed", "{encoder}"),
    output:
        touch(PATHS.features_part("{encoder}", "{benchmark}", "{part}")),
    log:
        LOGS / "embed/{encoder}/{benchmark}/part{part}.log",
    wildcard_constraints:
        encoder=one_of(PLAN.encoders.sharing(True)),
    conda:
        ENVIRONMENT
    threads: lambda wildcards: PLAN.encoders.cores(wildcards.encoder)
    resources:
        gpu=lambda wildcards: int(PLAN.encoders.uses_gpu(wildcards.encoder)),
        mem_mb=lambda wildcards, attempt: PLAN.encoders.mem_mb(wildcards.encoder) * 2 ** (attempt - 1),
        runtime=lambda wildcards, attempt: embedding_min(wildcards, attempt),
    params:
        timing=str(TIMINGS / "embed/{encoder}/{benchmark}/part{part}.tsv"),
        options=embedding_options,
        slides=lambda wildcards: ", ".join(encoded_slides(wildcards)),
        threads=CONFIG.embedding.threads,
    message:
        "Embed the tiles of {params.slides} of {wildcards.benchmark} with {wildcards.encoder}."
    shell:
        "stflow --gpus {resources.gpu} --timing {params.timing:q}"
        " embed {params.options} --code-stamp {input.code:q} --threads {params.threads} --only-keep"
        " > {log:q} 2>&1"


rule place_features:
    input:
        lambda wildcards: PLAN.encoders.part_of(**wildcards),
    output:
        PATHS.features("{encoder}", "{benchmark}", "{slide}"),
    log:
        LOGS / "embed/{encoder}/{benchmark}/{slide}.log",
    wildcard_constraints:
        encoder=one_of(PLAN.encoders.sharing(True)),
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        mem_mb=100,
        runtime=5,
    params:
        kept=lambda wildcards: PATHS.kept_features(**wildcards),
    message:
        "Put the features of {wildcards.benchmark}/{wildcards.slide} from {wildcards.encoder} in their place."
    shell:
        "(ln -f {params.kept:q} {output:q} || cp {params.kept:q} {output:q}) > {log:q} 2>&1 && touch {output:q}"
        " || (echo 'What was kept is gone: delete {input} and run again.' >> {log:q}; exit 1)"
