"""The shapes that the page draws, so that none depends on a font: each as an SVG path between -1 and 1. No torch."""

CIRCLE = "M0 -0.9A0.9 0.9 0 1 1 0 0.9A0.9 0.9 0 1 1 0 -0.9Z"
TRIANGLE_UP = "M0 -1L1.05 0.8H-1.05Z"
TRIANGLE_RIGHT = "M1 0L-0.8 1.05V-1.05Z"
MODELS = (
    CIRCLE,
    "M-0.8 -0.8H0.8V0.8H-0.8Z",  # square
    TRIANGLE_UP,
    "M0 -1.15L1 0L0 1.15L-1 0Z",  # diamond
    "M-0.35 -1H0.35V-0.35H1V0.35H0.35V1H-0.35V0.35H-1V-0.35H-0.35Z",  # cross
    "M0 1L1.05 -0.8H-1.05Z",  # triangle down
    TRIANGLE_RIGHT,
)
SIGNS = {
    "better": TRIANGLE_UP,
    "worse": MODELS[5],
    "closed": TRIANGLE_RIGHT,
    "right": "M-1 0.1L-0.65 -0.25L-0.25 0.2L0.65 -0.8L1 -0.5L-0.25 0.9Z",
    "wrong": "M-0.85 -0.5L-0.5 -0.85L0 -0.35L0.5 -0.85L0.85 -0.5L0.35 0"
    "L0.85 0.5L0.5 0.85L0 0.35L-0.5 0.85L-0.85 0.5L-0.35 0Z",
    "warning": "M0 -1L1.1 0.9H-1.1ZM-0.13 -0.35V0.3H0.13V-0.35ZM-0.13 0.45V0.7H0.13V0.45Z",
    "theme": CIRCLE + "M0 -0.7A0.7 0.7 0 0 0 0 0.7Z",
}
