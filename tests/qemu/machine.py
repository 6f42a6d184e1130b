"""A virtual machine with a stock Debian kernel over this host's own files, which it sees read-only.

The root is this host's root by virtiofs under an overlay in memory: nothing is installed or built for the guest, and
nothing that it writes stays. QEMU emulates the processor, so it runs in any container; a guest is at the prompt
after a few seconds. `tools/setup.sh qemu` brings what is needed.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KERNEL = ROOT / "build/qemu/kernel"
BOOT_MODULES = ("virtio_pci", "virtiofs", "overlay")
VIRTIOFSD = Path("/usr/lib/qemu/virtiofsd")
EXIT_MARK = "waypost-guest-exit:"
MEMORY_MIB = 3072


class MachineError(Exception):
    """The guest cannot run here; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class GuestResult:
    """`code` is the program's; `seconds` from power-on to power-off."""

    code: int
    console: str
    seconds: float


def check_requirements() -> None:
    """Raise `MachineError` in one clear line when something is missing."""
    missing = [name for name in ("qemu-system-x86_64", "busybox", "depmod") if shutil.which(name, path=_PATH) is None]
    if not VIRTIOFSD.exists():
        missing.append("virtiofsd")
    if not (KERNEL / "boot").is_dir():
        missing.append("the guest's kernel")
    if platform.machine() != "x86_64":
        raise MachineError("the guest is an x86-64 machine with the host's programs: this host has another processor")
    if os.geteuid() != 0:
        raise MachineError("not root: the guest sees the host's files through virtiofsd, which needs root")
    if missing:
        raise MachineError(f"{', '.join(missing)} missing: run tools/setup.sh qemu")


_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def kernel_image() -> Path:
    return next(iter(sorted((KERNEL / "boot").glob("vmlinuz-*"))))


def kernel_version() -> str:
    return kernel_image().name.removeprefix("vmlinuz-")


def run_guest(command: str, *, timeout_s: float, processors: int = 2) -> GuestResult:
    """Boot, run a shell command as root in this working tree, power off. Raises `MachineError` when it never ends."""
    check_requirements()
    _compile()
    with tempfile.TemporaryDirectory(prefix="waypost-guest-") as folder, contextlib.ExitStack() as stack:
        place = Path(folder)
        image = place / "initramfs"
        image.write_bytes(_initramfs(command))
        files = stack.enter_context(_host_files(place / "files.sock"))
        started = time.monotonic()
        console = place / "console"
        try:
            done = subprocess.run(
                _qemu(image, files, console, processors), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                errors="replace", check=False, timeout=timeout_s,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            seen = console.read_text(errors="replace")
            raise MachineError(f"the guest did not end within {timeout_s:g} s:\n{seen[-12000:]}") from None
        return _result(console.read_text(errors="replace"), done.stderr, time.monotonic() - started)


def _compile() -> None:
    """The guest cannot write the bytecode of our programs, and would make it anew at each start."""
    folders = ("appliance", "control", "plugins", "tests", "bench")
    subprocess.run([sys.executable, "-m", "compileall", "-q", *folders], check=True, cwd=ROOT)


def _result(console: str, errors: str, seconds: float) -> GuestResult:
    head, mark, tail = console.replace("\r", "").rpartition(EXIT_MARK)
    if not mark:
        raise MachineError(f"the guest ended before its program did: {errors[-2000:]}\n{console[-12000:]}")
    return GuestResult(int(tail.split()[0]), head, seconds)


def _qemu(image: Path, files: Path, console: Path, processors: int) -> list[str]:
    memory = f"memory-backend-memfd,id=mem,size={MEMORY_MIB}M,share=on"
    return [
        "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", str(processors),
        "-m", f"{MEMORY_MIB}M", "-object", memory, "-numa", "node,memdev=mem",
        "-kernel", str(kernel_image()), "-initrd", str(image),
        "-append", "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on",
        "-chardev", f"socket,id=files,path={files}", "-device", "vhost-user-fs-pci,chardev=files,tag=host",
        "-nic", "none", "-display", "none", "-serial", f"file:{console}", "-monitor", "none", "-no-reboot",
    ]  # fmt: skip


@contextlib.contextmanager
def _host_files(socket: Path) -> Iterator[Path]:
    """Serves this host's files to the guest, which mounts them read-only."""
    command = [
        str(VIRTIOFSD),
        f"--socket-path={socket}",
        "-o",
        "source=/",
        "-o",
        "sandbox=chroot",
        "-o",
        "cache=always",
    ]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(500):
            if socket.exists():
                break
            if server.poll() is not None:
                raise MachineError(f"virtiofsd ended with {server.returncode}")
            time.sleep(0.01)
        yield socket
    finally:
        server.terminate()
        server.wait()


# The first file system: a shell, the modules that reach the host's files, and a script.


def _initramfs(command: str) -> bytes:
    modules = list(_modules(BOOT_MODULES))
    script = _SCRIPT.format(
        loads="\n".join(f"insmod /modules/{path.name}" for path in modules),
        kernel=KERNEL, tree=ROOT, command=command, path=f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
        mark=EXIT_MARK,
    )  # fmt: skip
    busybox = shutil.which("busybox", path=_PATH)
    assert busybox is not None
    entries: list[tuple[str, int, bytes]] = [
        *((name, stat.S_IFDIR | 0o755, b"") for name in ("bin", "dev", "proc", "sys", "modules", "host", "rw", "new")),
        ("bin/busybox", stat.S_IFREG | 0o755, Path(busybox).read_bytes()),
        ("init", stat.S_IFREG | 0o755, script.encode()),
        *((f"modules/{path.name}", stat.S_IFREG | 0o644, path.read_bytes()) for path in modules),
    ]
    return _archive(entries)


def _modules(wanted: Iterable[str]) -> Iterator[Path]:
    """Files of the modules and what they need, in load order."""
    folder = KERNEL / "lib/modules" / kernel_version()
    if not (folder / "modules.dep").exists():
        subprocess.run(["depmod", "-b", str(KERNEL), kernel_version()], check=True, env={"PATH": _PATH})
    needs = dict(line.split(":", 1) for line in (folder / "modules.dep").read_text().splitlines())
    by_name = {Path(name).stem.replace("-", "_"): name for name in needs}
    done: set[str] = set()
    for module in wanted:
        name = by_name[module]
        for each in [*reversed(needs[name].split()), name]:
            if each not in done:
                done.add(each)
                yield folder / each


def _archive(entries: Iterable[tuple[str, int, bytes]]) -> bytes:
    """A cpio archive in the `newc` form that the kernel unpacks."""
    parts: list[bytes] = []
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        path = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path), 0)
        header = b"070701" + b"".join(f"{field:08x}".encode() for field in fields)
        parts += [_padded(header + path), _padded(content)]
    return b"".join(parts)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


_SCRIPT = """#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
{loads}
mount -t virtiofs -o ro host /host || echo "no host files"
mount -t tmpfs tmpfs /rw
mkdir /rw/upper /rw/work
mount -t overlay -o lowerdir=/host,upperdir=/rw/upper,workdir=/rw/work overlay /new
mkdir -p /new/lib/modules
for name in dev proc sys; do mount --move /$name /new/$name; done
mount -t tmpfs tmpfs /new/tmp
mount -t tmpfs tmpfs /new/run
case {tree}/ in /tmp/*|/run/*) mkdir -p /new{tree}; mount -o bind /host{tree} /new{tree};; esac
mkdir -p /new/usr/lib/modules
mount -t tmpfs tmpfs /new/usr/lib/modules
cat > /new/tmp/command <<'END'
export PATH={path} HOME=/tmp LANG=C.UTF-8 WAYPOST_LAB_PATIENCE=5 PYTHONDONTWRITEBYTECODE=1
ln -s {kernel}/lib/modules/$(uname -r) /usr/lib/modules/
ln -s /proc/self/fd /dev/fd; ln -s fd/0 /dev/stdin; ln -s fd/1 /dev/stdout; ln -s fd/2 /dev/stderr
mkdir -p /dev/pts /dev/shm; mount -t devpts devpts /dev/pts; mount -t tmpfs tmpfs /dev/shm
ip link set lo up
modprobe -a tun veth nf_tables
cd {tree}
( {command} )
echo "{mark} $?"
/tmp/busybox reboot -f
END
cp /bin/busybox /new/tmp/busybox
exec switch_root /new /bin/sh /tmp/command </new/dev/null >/new/dev/ttyS0 2>&1
"""
