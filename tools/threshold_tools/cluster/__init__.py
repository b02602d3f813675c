"""Groups photos by the person they seem to show, without names: two methods, their scores and pictures."""
