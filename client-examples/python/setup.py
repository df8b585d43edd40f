"""Packaging: makes the stubs from proto/ before they are packed. All else is in pyproject.toml."""

from pathlib import Path

from setuptools import Command, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

PROTO = Path(__file__).resolve().parent / "../../proto"
STUBS = Path(__file__).resolve().parent / "src"
NAMES = ("event", "gap", "stream_service", "time_interval")


def make_stubs() -> None:
    """Run protoc with the plugins for types. A source distribution contains the stubs, and no proto/."""
    if not PROTO.is_dir():
        return
    # Only here: an installed package does not need it.
    from grpc_tools import protoc  # noqa: PLC0415

    files = [str(PROTO / f"powerstream/gateway/v1/{name}.proto") for name in NAMES]
    outputs = [f"--{kind}_out={STUBS}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    outputs += ["--mypy_opt=quiet", "--mypy_grpc_opt=quiet"]
    # Well-known types come with grpcio-tools.
    well_known = Path(protoc.__file__).parent / "_proto"
    status = protoc.main(["protoc", f"--proto_path={PROTO}", f"--proto_path={well_known}", *outputs, *files])
    if status != 0:
        raise SystemExit(f"protoc ended with {status}")


class Generate(Command):
    """Makes the stubs in src/, for build.sh."""

    user_options = []  # noqa: RUF012

    def initialize_options(self) -> None:
        """Nothing to set."""

    def finalize_options(self) -> None:
        """Nothing to check."""

    def run(self) -> None:
        """Make the stubs."""
        make_stubs()


class BuildWithStubs(build_py):
    """The build of a wheel."""

    def run(self) -> None:
        """Make the stubs first."""
        make_stubs()
        super().run()


class SourceWithStubs(sdist):
    """The build of a source distribution."""

    def run(self) -> None:
        """Make the stubs first."""
        make_stubs()
        super().run()


setup(cmdclass={"generate": Generate, "build_py": BuildWithStubs, "sdist": SourceWithStubs})
