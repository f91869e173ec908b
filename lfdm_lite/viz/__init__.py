"""Pictures of videos and flows, and players that move without a kernel; all that a chapter draws with."""

from .flow_pictures import colour_wheel_picture, flow_arrows, flow_overlay
from .pictures import contact_sheet, grid_of_clips, image_row, show_images, show_strips, video_strip
from .players import Player, player, slider
from .stills import Picture

__all__ = ["Picture", "Player", "colour_wheel_picture", "contact_sheet", "flow_arrows", "flow_overlay", "grid_of_clips"]
__all__ += ["image_row", "player", "show_images", "show_strips", "slider", "video_strip"]
