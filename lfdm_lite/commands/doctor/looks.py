"""What `lfdm doctor` looks at, one function a topic."""

import os
import platform
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ...files.machine.packages import CONSTRAINTS, WAITING, Package, advice, busy, clone, packages, waits_actively
from ...files.places import check_folder, user_cache
from ..common import default_checkpoint

LITTLE_MEMORY = 2.0  # GB; the chapter that takes most needs 1.9
LITTLE_DISK = 1.0  # GB; frames of your own videos and the published networks that measure
LOOKED_AT = ("LFDM_", "OMP_", "MKL_", "KMP_", "GOMP_", "CUDA_VISIBLE", "PYTORCH_", "HF_H")  # names of variables


@dataclass
class Report:
    """What was found: facts by topic, and what to do."""

    facts: dict[str, dict[str, str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)  # something will not work
    remarks: list[str] = field(default_factory=list)  # something works less well than it could

    def fact(self, topic: str, name: str, value: object) -> None:
        self.facts.setdefault(topic, {})[name] = str(value)


def software(report: Report) -> None:
    """Python, the library, and the packages of a plain installation beside their ranges."""
    from ... import __version__

    report.fact("software", "system", platform.platform())
    report.fact("software", "python", f"{platform.python_version()} in {sys.prefix}")
    here = Path(__file__).resolve().parents[3]
    report.fact("software", "lfdm_lite", f"{__version__}, {'sources' if clone() else 'installed'} in {here}")
    for package in packages().get("", ()):
        report.fact("software", package.name, standing(package))
        compare(package, report)
    if "" not in packages():
        report.remarks.append("which versions are needed is not known: no pyproject.toml lies beside the sources")


def standing(package: Package) -> str:
    """The version, and what it is held against."""
    held = ", ".join(filter(None, [package.needs, package.tested and f"tested {package.tested}"]))
    return f"{package.installed or 'missing'} ({held})"


def compare(package: Package, report: Report) -> None:
    """Say what is missing, too old, or newer than anyone tried."""
    if package.installed is None or package.too_old:
        what = "is missing" if package.installed is None else f"{package.installed} is too old"
        report.problems.append(f'{package.name} {what}: pip install "{package.name}{package.needs}"')
    elif package.newer:
        report.remarks.append(
            f"{package.name} {package.installed} is newer than {package.tested}, which was tested; if something fails, "
            f"install with -c {CONSTRAINTS}"
        )


def extras(report: Report) -> None:
    """What the other commands, the chapters and the tests need: there, or how to get it."""
    for extra, members in packages().items():
        lacking = [package for package in members if package.installed is None]
        if extra in ("book", "dev") and clone() is None:
            continue  # of use in the repository alone
        if extra and not lacking:
            report.fact("extras", extra, "all there")
            for package in members:
                compare(package, report)
        elif extra:
            names = ", ".join(package.name for package in lacking)
            report.fact("extras", extra, f"without {names}; if you need it: {advice(lacking[0].name)}")


def processor(report: Report) -> None:
    """Cores, threads, and how they wait."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    report.fact("processor", "kind", f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}")
    report.fact("processor", "cores", f"{cores} for this process, {os.cpu_count()} in all")
    report.fact("processor", "threads", torch.get_num_threads())
    report.fact("processor", "waiting", "active" if waits_actively() else f"{WAITING}={os.environ.get(WAITING)}")
    if hasattr(os, "getloadavg"):
        report.fact("processor", "load", f"{os.getloadavg()[0]:.1f} in the last minute")
    for name in sorted(name for name in os.environ if name.startswith(LOOKED_AT) and "TOKEN" not in name):
        report.fact("variables", name, os.environ[name])
    if torch.get_num_threads() > cores:
        report.problems.append(
            f"{torch.get_num_threads()} threads share {cores} cores: set OMP_NUM_THREADS={cores}, or remove it"
        )
    if busy() and torch.get_num_threads() > 1:
        if waits_actively():
            report.problems.append(f"other programs use these cores, and threads wait actively: set {WAITING}=PASSIVE")
        else:
            report.remarks.append("other programs use these cores; small networks are fastest by OMP_NUM_THREADS=1")


def memory(report: Report) -> None:
    """What is free, where the system says so without another package."""
    with suppress(ValueError, OSError, AttributeError):  # macOS and Windows have no such names
        page = os.sysconf("SC_PAGE_SIZE") / 1e9
        free, total = (os.sysconf(name) * page for name in ("SC_AVPHYS_PAGES", "SC_PHYS_PAGES"))
        meminfo = Path("/proc/meminfo")
        if meminfo.is_file():  # counts what the system would give back
            lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
            free = int(lines["MemAvailable"].split()[0]) * 1024 / 1e9
        report.fact("memory", "free", f"{free:.1f} of {total:.1f} GB")
        if free < LITTLE_MEMORY:
            report.remarks.append(f"{free:.1f} GB of memory are free; a chapter takes up to {LITTLE_MEMORY:.0f} GB")


def accelerator(report: Report) -> None:
    """GPUs that torch can use."""
    import torch

    report.fact("accelerator", "torch built for", f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA")
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            found = torch.cuda.get_device_properties(i)
            report.fact("accelerator", f"cuda:{i}", f"{found.name}, {found.total_memory / 1e9:.0f} GB")
    elif torch.version.cuda and shutil.which("nvidia-smi"):
        report.problems.append("there is an NVIDIA driver, but torch sees no GPU: look at nvidia-smi")
    report.fact("accelerator", "mps", "yes" if torch.backends.mps.is_available() else "no")


def cache(report: Report) -> None:
    """Where things are kept that can be made anew."""
    place = user_cache()
    report.fact("disk", "cache", place)
    try:
        check_folder(place)
    except ValueError as error:
        report.problems.append(f"{error}; let LFDM_CACHE name a folder that can be written to")
        return
    nearest = next(folder for folder in (place, *place.parents) if folder.exists())
    free = shutil.disk_usage(nearest).free / 1e9
    report.fact("disk", "free", f"{free:.1f} GB")
    if free < LITTLE_DISK:
        report.problems.append(f"{free:.1f} GB are free at {nearest}: make room, or let LFDM_CACHE name another disk")


def checkpoint(report: Report) -> None:
    """Whether the model that the commands take by default is there and whole."""
    from ...files.checkpoints import read_config, read_tensors

    try:
        folder = default_checkpoint()
        kind, numbers = read_config(folder)["kind"], sum(tensor.numel() for tensor in read_tensors(folder).values())
    except ValueError as error:
        report.problems.append(f"no model to generate with: {error}")
        return
    report.fact("model", "folder", folder)
    report.fact("model", "holds", f"{kind}, {numbers:,} numbers")


LOOKS = (software, extras, processor, memory, accelerator, cache, checkpoint)
