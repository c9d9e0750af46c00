"""Videos: container files that FFmpeg reads, and folders of pictures.

container     opening one for decoding, safely
mp4_tables    what an MP4's header says, in a millisecond
frame_table   its frames and their times
timeline      how a caller says which frames it wants
frames        decoding just those
folder        the same for a folder of pictures
animation     the same for a picture that moves
"""
