"""The product students: what their teachers gave them over the same crops without any."""

from distill.tables import PRODUCT, Row, Table

S, S_ALONE = "throng-s, taught", "throng-s alone"
M, M_ALONE = "throng-m, taught", "throng-m alone"
DEEP = "DenseNet169, a teacher"

table = Table(
    title="The product students",
    says="""Does teaching make the students that ship count better than labels alone, at equal
crops? A taught one went through a chain of runs, each from the last weights of the one before. Its
crops are those of the whole chain; its teachers and the making of the bank are not in its cost.""",
    rows=(
        Row(M_ALONE, ("throng-m",)),
        Row("throng-m, taught, before labels alone", ("throng-m-banked",)),
        Row(M, ("throng-m-distilled",)),
        Row(S_ALONE, ("throng-s-alone",)),
        Row("throng-s, taught, before labels alone", ("throng-s-banked",)),
        Row(S, ("throng-s",)),
        Row(DEEP, ("teacher-deep",)),
        Row("ResNet50, a teacher", ("teacher-wide",)),
    ),
    parts=PRODUCT,
    compared=((M, M_ALONE), (S, S_ALONE), (M, DEEP), (S, M)),
    scattered=(M, S, DEEP),
)
