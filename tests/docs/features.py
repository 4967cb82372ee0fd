"""A sample request of each feature, in each dialect that has a form for it; what becomes of it is seen by `carrying`."""

from docs.feature import Feature
from docs.said_features import SAID
from docs.setting_features import SETTINGS
from docs.tool_features import TOOL_FEATURES

FEATURES: tuple[Feature, ...] = (*SAID, *TOOL_FEATURES, *SETTINGS)
