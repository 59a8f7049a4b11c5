"""Videos of whole data sets extracted to folders of JPEG frames."""
