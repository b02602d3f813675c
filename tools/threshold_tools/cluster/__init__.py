"""Grouping photos by whom they seem to show, without anybody's name: two ways, their scores and their pictures."""
