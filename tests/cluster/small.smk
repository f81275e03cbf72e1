# A workflow of seconds, whose jobs do what jobs of the real one may: need more memory than they asked for, last a while.


rule all:
    input:
        "heavy.txt",
        expand("long{number}.txt", number=range(int(config.get("long", 0)))),


rule heavy:
    output:
        "heavy.txt",
    resources:
        mem_mb=lambda wildcards, attempt: 400 * 4 ** (attempt - 1),
        runtime=5,
    shell:
        "python3 -c 'import time; x = bytearray(700 << 20); time.sleep(4)' && echo {resources.mem_mb} > {output}"


rule long:
    output:
        "long{number}.txt",
    resources:
        mem_mb=500,
        runtime=5,
    shell:
        "echo $SLURMD_NODENAME >> began{wildcards.number}.txt; sleep 12; echo done > {output}"
