# Hugging Face: one job a repository asks which bytes its files are, then one job a file. Benchmarks that are read from a
# mirror (data_root) have no job here.

# Each of these jobs first asks whether all repositories are open, so a closed gate is told before any download starts.
# They have no input: a lock is made once and kept beside the data, and a finished download is never out of date.
for number, wanted in enumerate(PLAN.downloads()):

    rule:
        name:
            f"hub_lock_{number}"
        output:
            wanted.root / COMMIT_NAME,
        log:
            LOGS / "hub" / f"lock_{number}.log",
        localrule: True
        conda:
            ENVIRONMENT
        resources:
            mem_mb=1000,
            runtime=30,
        params:
            repository=wanted.repository,
            request=constant(PATHS.hub_request),
            root=constant(wanted.root),
        message:
            "Ask the hub for access, and for the commit and hashes of {params.repository}."
        shell:
            "stflow hub lock --request {params.request:q} --root {params.root:q} > {log:q} 2>&1"


for number, wanted in enumerate(PLAN.downloads()):

    rule:
        name:
            f"download_{number}"
        input:
            wanted.root / COMMIT_NAME,
        output:
            wanted.root / "{file}",
        log:
            LOGS / "hub" / str(number) / "{file}.log",
        wildcard_constraints:
            file=one_of(wanted.files),
        localrule: True
        conda:
            ENVIRONMENT
        resources:
            mem_mb=1000,
            runtime=600,
            download=1,
        params:
            repository=wanted.repository,
            root=constant(wanted.root),
        message:
            "Download {wildcards.file} of {params.repository}."
        shell:
            "stflow hub download --repository {params.repository:q} --root {params.root:q} --file {wildcards.file:q}"
            " > {log:q} 2>&1"
