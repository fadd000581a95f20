"""The product students: what teaching gives them over the same crops without any."""

from distill.tables import PRODUCT, Row, Table

S, S_ALONE, S_BANKED = "throng-s, by throng-m's features", "throng-s alone", "throng-s, by maps too"
S_TAUGHT = "throng-s, then by throng-m's maps on mixed crops, then by labels"
M, M_BANKED = "throng-m", "throng-m, by maps of two teachers"
M_ALONE = "throng-m, by labels of the same crops"
M_BEFORE, S_BEFORE = "throng-m on resized pictures", "throng-s on resized pictures"
M_RESIZED = "throng-m on resized pictures for as long"

table = Table(
    title="The product students",
    says="""Does teaching make the students that ship count better than labels alone, at equal
crops? All but the teachers went through a chain of runs, each from the last weights of the one
before. Its crops are those of the whole chain; teachers and the making of the bank are not in its
cost.""",
    rows=(
        Row("ResNet18 whole: throng-m before a block is cut", ("throng-m-whole",)),
        Row(M_BEFORE, ("throng-m-cut",)),
        Row(M_RESIZED, ("throng-m-resized",)),
        Row(M, ("throng-m",)),
        Row(M_BANKED, ("throng-m-distilled",)),
        Row(M_ALONE, ("throng-m-distilled-alone",)),
        Row(S_BEFORE, ("throng-s-second",)),
        Row(S_ALONE, ("throng-s-alone",)),
        Row(S, ("throng-s",)),
        Row(S_BANKED, ("throng-s-distilled",)),
        Row(S_TAUGHT, ("throng-s-finished",)),
        Row("throng-m as it ships: with harsh crops, too", ("throng-m-steady",)),
        Row("throng-s as it ships: with harsh crops, too", ("throng-s-harsh",)),
        Row("DenseNet169, a teacher", ("teacher-deep",)),
        Row("ResNet50, a teacher", ("teacher-wide",)),
    ),
    parts=PRODUCT,
    compared=(
        (S, S_ALONE),
        (S_BANKED, S_BEFORE),
        (M_BANKED, M_ALONE),
        (M_BANKED, M_BEFORE),
        (M, M_RESIZED),
        (S, M),
    ),
    scattered=(M, S),
)
