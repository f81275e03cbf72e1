# Hugging Face: one job asks whether the repositories are open and which bytes their files are, then one job a file.
# Benchmarks that are read from a mirror (data_root) have no job here.

if PLAN.downloads():

    # All repositories in one job, so that a closed gate is told before any download starts. Its output is kept while the
    # job runs and put back if it fails: without it every download would count as out of date.
    rule hub_lock:
        input:
            PATHS.hub_request,
        output:
            update(PATHS.hub_commits),
        log:
            LOGS / "hub/lock.log",
        localrule: True
        conda:
            ENVIRONMENT
        resources:
            mem_mb=1000,
            runtime=30,
        message:
            "Ask the hub for access, commits and hashes."
        shell:
            "stflow hub lock --request {input:q} --out {output:q} > {log:q} 2>&1"


# The commits come from the lock beside the data, which never changes by itself. So a lock that was made again, as for
# more slides, makes no download out of date: that is what `ancient` says.
for number, wanted in enumerate(PLAN.downloads()):

    rule:
        name:
            f"download_{number}"
        input:
            ancient(PATHS.hub_commits),
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
