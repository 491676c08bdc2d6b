"""What a user would write instead: the same job on other frameworks, each in a file, as short and fast as they allow."""
