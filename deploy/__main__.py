"""throng-deploy: make bundles from checkpoints, check and measure the engines that run them."""

from deploy.commands import bench, build, export, names, parity, quantise, routes
from models.commands import command_line, run_command

app = command_line(
    "Make bundles from trained checkpoints, and check that every engine counts like the net."
)
app.command()(export.export)
app.command()(parity.parity)
app.command()(quantise.quantise)
app.command()(routes.routes)
app.command()(bench.bench)
app.command()(build.build)
app.command("list")(names.list_)


def main() -> None:
    run_command(app, "throng-deploy")


if __name__ == "__main__":
    main()
