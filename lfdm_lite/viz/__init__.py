"""Pictures of videos and flows, and players and dials that move without a kernel; all that a chapter draws with."""

from .dials import Dial, dial
from .flow_pictures import colour_wheel_picture, flow_arrows, flow_overlay
from .pictures import contact_sheet, grid_of_clips, image_row, show_images, show_strips, video_strip
from .players import Player, player, slider
from .stills import Picture
from .style import COLOURS, use_style

__all__ = ["COLOURS", "Dial", "Picture", "Player", "colour_wheel_picture", "contact_sheet", "dial", "flow_arrows"]
__all__ += ["flow_overlay", "grid_of_clips", "image_row", "player", "show_images", "show_strips", "slider"]
__all__ += ["use_style", "video_strip"]
