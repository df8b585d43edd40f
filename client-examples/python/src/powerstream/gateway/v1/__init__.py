"""Generated messages and stubs of the gateway; the files of proto/ document them."""
