"""SKT on CSRNet (Liu et al., ACM MM 2020): what each part of it gives a quarter student."""

from distill.tables import Row, Table

TEACHER = "CSRNet, the teacher"
ALONE = "1/4-CSRNet alone"
SOFT = "1/4-CSRNet with the teacher's map"
SKT = "1/4-CSRNet with SKT"
EARLY = "1/4-CSRNet with SKT first, then alone"
STAGES = "1/4-CSRNet alone, in the same two stages"

table = Table(
    title="SKT: CSRNet and its students",
    says="""Does structured knowledge transfer make 1/4-CSRNet count better than labels alone, and
than the teacher's map alone? How near does it come to its teacher, and at which channel ratio? A
student learns from head points alone at first, and goes on from there, taught or not, for a fifth
of its crops: those of one seed have one start, and see the same crops in the same order. Two rows
are taught from scratch: one for a fifth of its crops, to go on alone, and "as published" to its
end, which sees part A alone. The paper's numbers, after 1,000
epochs of being taught and on the official test of part A: teacher 68.4, 1/4-CSRNet with SKT
71.6.""",
    rows=(
        Row(TEACHER, ("csrnet",)),
        Row("1/4-CSRNet, the start of the rows below", ("quarter", "quarter-1", "quarter-2")),
        Row(ALONE, ("skt-plain", "skt-plain-1", "skt-plain-2")),
        Row(SOFT, ("skt-soft",)),
        Row("1/4-CSRNet with one layer (FitNets)", ("skt-fitnet",)),
        Row("1/4-CSRNet with map and patterns (intra)", ("skt-intra",)),
        Row("1/4-CSRNet with map and relations (inter)", ("skt-inter",)),
        Row(SKT, ("skt", "skt-1", "skt-2")),
        Row(EARLY, ("skt-early", "skt-early-1", "skt-early-2")),
        Row(STAGES, ("skt-untaught-early", "skt-untaught-early-1", "skt-untaught-early-2")),
        Row("1/2-CSRNet alone", ("skt-plain-ratio-2",)),
        Row("1/2-CSRNet with SKT", ("skt-ratio-2",)),
        Row("1/3-CSRNet alone", ("skt-plain-ratio-3",)),
        Row("1/3-CSRNet with SKT", ("skt-ratio-3",)),
        Row("1/5-CSRNet alone", ("skt-plain-ratio-5",)),
        Row("1/5-CSRNet with SKT", ("skt-ratio-5",)),
        Row("1/4-CSRNet with SKT as published", ("skt-published",)),
    ),
    compared=(
        (EARLY, STAGES),
        (EARLY, ALONE),
        (SKT, ALONE),
        (SKT, SOFT),
        (EARLY, SKT),
        (EARLY, TEACHER),
    ),
    scattered=(TEACHER, ALONE, EARLY),
)
