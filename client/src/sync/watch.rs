//! Watch: what has changed below a folder of this machine since the last look.
