"""MGD (Qin et al., ECCV 2022), ported to counting: throng-m with a share of the labels."""

from distill.tables import Row, Table

SHARES = (5, 10, 40)
METHODS = {
    "labels alone": "supervised",
    "labels alone, half the crops": "labelled",
    "its own average as teacher": "mean-teacher",
    "MGD": "mgd",
    "the deeper teacher": "mgd-deeper",
    "the wider teacher": "mgd-wider",
}


def _name(method: str, share: int) -> str:
    return f"{method}, {share} % of the labels"


table = Table(
    title="MGD: few labels",
    says="""Do two teachers, themselves trained on the same few labels, make a light student count
better by what they say of pictures without labels? Beside it: the labels alone, with as many crops
and with those alone that are labelled in the other rows; and the student's own moving average as
its only teacher, the strong control. The two teachers see the labelled pictures alone, as many
crops of them as MGD's student. Lists of labelled pictures are in `distill/lists`; they are spread
evenly over the true counts of all pictures, which nobody knows who labels few: fair between these
rows, not beside published numbers. Choosing a checkpoint used more labels than 5 % are: read the
last ones.""",
    rows=tuple(
        Row(_name(method, share), (f"{run}-{share}",))
        for share in SHARES
        for method, run in METHODS.items()
    ),
    compared=tuple(
        (_name("MGD", share), _name(than, share))
        for share in SHARES
        for than in ("labels alone", "labels alone, half the crops", "its own average as teacher")
    ),
    scattered=(_name("labels alone", 5), _name("MGD", 5)),
)
