"""SKT on its two other teachers, BL and SANet (Liu et al., ACM MM 2020)."""

from distill.tables import Row, Table

BL, BL_ALONE, BL_SKT = "BL, the teacher", "1/4-BL alone", "1/4-BL with SKT"
SANET, SANET_ALONE, SANET_SKT = "SANet, the teacher", "1/4-SANet alone", "1/4-SANet with SKT"

table = Table(
    title="SKT: BL and SANet and their students",
    says="""Does what SKT does for CSRNet's student hold for nets of another build? The layers that
these students are shown are not published: they were chosen as CSRNet's are. One seed each. The
paper's numbers, on the official test of part A: BL 61.5, 1/4-BL with SKT 62.7.""",
    rows=(
        Row(BL, ("bl",)),
        Row(BL_ALONE, ("bl-plain",)),
        Row(BL_SKT, ("bl-skt",)),
        Row(SANET, ("sanet",)),
        Row(SANET_ALONE, ("sanet-plain",)),
        Row(SANET_SKT, ("sanet-skt",)),
    ),
    compared=((BL_SKT, BL_ALONE), (BL_SKT, BL), (SANET_SKT, SANET_ALONE), (SANET_SKT, SANET)),
    scattered=(BL, BL_ALONE, BL_SKT),
)
