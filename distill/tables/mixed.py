"""Crops with boxes of other crops (CutMix): for students that know their training pictures well."""

from distill.tables import PRODUCT, Row, Table

S_TAUGHT = "throng-s by throng-m's maps and labels on mixed crops, then by labels on plain ones"
S_LABELS = "throng-s by labels on mixed crops, then on plain ones"
M_MIXED = "throng-m by labels on mixed crops, then on plain ones"
M_PLAIN = "throng-m by labels on plain crops for as long"
M_AGAIN = "throng-m by labels on plain crops, an eighth as long"

table = Table(
    title="Mixed crops",
    says="""Does a student that goes on with crops that no picture holds count better than one that
goes on with plain ones, and do a teacher's maps help it there? All rows go on from weights that
shipped (part A 129.0 and part B 16.4 for throng-s, 105.7 and 10.0 for throng-m, as their cards
said): the crops and hours before are not counted here.""",
    rows=(
        Row(S_TAUGHT, ("throng-s-finished",)),
        Row(S_LABELS, ("throng-s-mixed-finished",)),
        Row(M_MIXED, ("throng-m-finished",)),
        Row(M_PLAIN, ("throng-m-plain-finished",)),
        Row(M_AGAIN, ("throng-m-again",)),
    ),
    parts=PRODUCT,
    compared=((S_TAUGHT, S_LABELS), (M_MIXED, M_PLAIN)),
    scattered=(S_TAUGHT,),
)
