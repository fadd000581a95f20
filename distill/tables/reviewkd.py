"""ReviewKD (Liu et al., arXiv 2206.05475) on 1/4-CSRNet: instruction, review, and both."""

from distill.tables import Row, Table

PLAIN, STAGES = "1/4-CSRNet alone", "1/4-CSRNet alone, in two stages"
BOTH = "instruction and a review: ReviewKD"
INSTRUCTED, LOOKED_AGAIN = "an instruction", "a review"
WIDER = "1/3-CSRNet alone, 1.76 times the compute"
HEAVY, AGAIN, REVIEWED = (
    "CSRNet, the teacher",
    "CSRNet, trained on",
    "CSRNet, trained on with a review",
)
SHIPPED_AGAIN, SHIPPED_REVIEWED = "throng-m, trained on", "throng-m, trained on with a review"

table = Table(
    title="ReviewKD: instruction and review",
    says="""Only the abstract of the paper is known to us; every formula is ours. It claims that a
student with both phases beats its teacher, and that a review helps heavy nets without a further
parameter. Does each phase help at equal crops? A review decodes twice: does it beat a wider student
that computes more? All students see equally many crops, those of the instruction included. The rows
of throng-m go on from the weights that ship, whose own crops are not counted here.""",
    rows=(
        Row(PLAIN, ("quarter", "quarter-1", "quarter-2")),
        Row(STAGES, ("reviewkd-untaught", "reviewkd-untaught-1", "reviewkd-untaught-2")),
        Row(INSTRUCTED, ("reviewkd-instruct", "reviewkd-instruct-1", "reviewkd-instruct-2")),
        Row(LOOKED_AGAIN, ("reviewkd-review",)),
        Row(BOTH, ("reviewkd", "reviewkd-1", "reviewkd-2")),
        Row("instruction and two reviews", ("reviewkd-twice",)),
        Row(WIDER, ("third",)),
        Row(HEAVY, ("csrnet",)),
        Row(AGAIN, ("csrnet-again",)),
        Row(REVIEWED, ("csrnet-review",)),
        Row(SHIPPED_AGAIN, ("throng-m-again", "throng-m-again-1")),
        Row(SHIPPED_REVIEWED, ("throng-m-review", "throng-m-review-1")),
    ),
    compared=(
        (BOTH, PLAIN),
        (INSTRUCTED, STAGES),
        (BOTH, STAGES),
        (BOTH, INSTRUCTED),
        (LOOKED_AGAIN, PLAIN),
        (BOTH, WIDER),
        (BOTH, HEAVY),
        (REVIEWED, AGAIN),
        (SHIPPED_REVIEWED, SHIPPED_AGAIN),
    ),
    scattered=(HEAVY, PLAIN, BOTH),
)
