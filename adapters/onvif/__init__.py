"""ONVIF cameras and recorders, on onvif-zeep's WSDLs parsed once per process."""
