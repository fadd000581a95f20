"""SKT on its two other teachers, BL and SANet (Liu et al., ACM MM 2020)."""

from distill.tables import Row, Table

BL, SANET = "BL, the teacher", "SANet, the teacher"
BL_ALONE, BL_SKT = "1/4-BL alone, in two stages", "1/4-BL with SKT first, then alone"
SANET_ALONE, SANET_SKT = "1/4-SANet alone, in two stages", "1/4-SANet with SKT first, then alone"

table = Table(
    title="SKT: BL and SANet and their students",
    says="""Does what SKT does for CSRNet's student hold for nets of another build? The layers that
these students are shown are not published: they were chosen as CSRNet's are. They are taught from
scratch for a fifth of their crops, and go on alone; their controls have the same two stages. One
seed each. The paper's numbers, on the official test of part A: BL 61.5, 1/4-BL with SKT 62.7.""",
    rows=(
        Row(BL, ("bl",)),
        Row(BL_ALONE, ("bl-untaught-early",)),
        Row(BL_SKT, ("bl-early",)),
        Row(SANET, ("sanet",)),
        Row(SANET_ALONE, ("sanet-untaught-early",)),
        Row(SANET_SKT, ("sanet-early",)),
    ),
    compared=((BL_SKT, BL_ALONE), (BL_SKT, BL), (SANET_SKT, SANET_ALONE), (SANET_SKT, SANET)),
    scattered=(BL, BL_ALONE, BL_SKT),
)
