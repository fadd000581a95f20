"""throng-distill: train students, teach them, measure them, adapt them to a site."""

from models.commands import run_command


def main() -> None:
    run_command(_typed, "throng-distill")


def _typed() -> None:
    from distill.app import app  # where a package of training is missing, one line says so

    app()


if __name__ == "__main__":
    main()
