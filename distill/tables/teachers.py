"""The teachers: who taught, and the losses that one of them was tried with."""

from distill.tables import PRODUCT, Row, Table

DEEP, WIDE = "DenseNet169 (teacher-deep)", "ResNet50 (teacher-wide)"

table = Table(
    title="The teachers",
    says="""How good are those who teach, and which loss makes the best of one of them? All are
trained on the whole data pack and see equally many crops, but for the three teachers of SKT, which
are trained on parts A and B alone: for them Beijing-BRT and the empty pictures are unknown country.
One seed each: between losses, differences within the interval mean nothing.""",
    rows=(
        Row(DEEP, ("teacher-deep",)),
        Row(WIDE, ("teacher-wide",)),
        Row("ResNet50, Poisson", ("teacher-wide-poisson",)),
        Row("ResNet50, Bayesian", ("teacher-wide-bayesian",)),
        Row("ResNet50, DM-Count", ("teacher-wide-dmcount",)),
        Row("ResNet50, zero-inflated Poisson", ("teacher-wide-zip",)),
        Row("CSRNet", ("csrnet",)),
        Row("BL", ("bl",)),
        Row("SANet", ("sanet",)),
    ),
    parts=PRODUCT,
    compared=((DEEP, WIDE),),
    scattered=(DEEP, WIDE),
)
