//! Destination: what `DEST` means, as users of cp(1) expect it. Pure functions, the same for both directions.
//!
//! | DEST | one file | one folder (-r) | several |
//! |---|---|---|---|
//! | a folder | into it | into it | into it |
//! | a file | replaces it | refused | refused |
//! | nothing, its parent is a folder | the new name | the new name | refused |
//! | nothing, with a slash at its end | refused | the new name | refused |
//! | nothing, nor its parent | refused | refused | refused |

/// What stands at DEST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    Folder,
    File,
    /// Nothing, but its parent is a folder.
    Nothing,
    /// Not even its parent.
    NoParent,
    /// A file where a folder is needed on the way to it.
    FileInTheWay,
}

/// What is brought there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brings {
    File,
    Folder,
    /// A stream or a root: it has no name of its own.
    NamelessFile,
    NamelessFolder,
    Several,
}

/// Where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goes {
    /// Into the folder at DEST, under its own name.
    Into,
    /// Under the name DEST.
    As,
    /// What is in the folder goes into the folder at DEST.
    Merged,
}

/// Why it goes nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Nowhere {
    #[error("it does not exist, and only one file or folder can get it as a new name")]
    NoFolder,
    #[error("there is no such folder")]
    NoFolderForFile,
    #[error("it is a file, not a folder")]
    NotAFolder,
    #[error("its parent folder does not exist")]
    NoParent,
    #[error("a part of it is a file, not a folder")]
    FileInTheWay,
    #[error("a folder cannot replace a file")]
    FolderOntoFile,
    #[error("it is a folder, and what comes from standard input needs a name in it")]
    NeedsName,
}

/// Decides; `slash` says that DEST was written with one at its end.
///
/// # Errors
/// Where the table above says refused.
pub fn decide(stands: Stands, slash: bool, brings: Brings) -> Result<Goes, Nowhere> {
    use Brings::{File, Folder, NamelessFile, NamelessFolder, Several};
    match (stands, brings) {
        (Stands::Folder, File | Folder | Several) => Ok(Goes::Into),
        (Stands::Folder, NamelessFolder) => Ok(Goes::Merged),
        (Stands::Folder, NamelessFile) => Err(Nowhere::NeedsName),
        (Stands::File, Several) => Err(Nowhere::NotAFolder),
        (Stands::File, Folder | NamelessFolder) => Err(Nowhere::FolderOntoFile),
        (Stands::File, File | NamelessFile) if slash => Err(Nowhere::NotAFolder),
        (Stands::File, File | NamelessFile) => Ok(Goes::As),
        (Stands::Nothing, Several) => Err(Nowhere::NoFolder),
        (Stands::Nothing, File | NamelessFile) if slash => Err(Nowhere::NoFolderForFile),
        (Stands::Nothing, File | NamelessFile | Folder | NamelessFolder) => Ok(Goes::As),
        (Stands::NoParent, _) => Err(Nowhere::NoParent),
        (Stands::FileInTheWay, _) => Err(Nowhere::FileInTheWay),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds() {
        use Brings::{File, Folder, NamelessFile, NamelessFolder, Several};
        use Stands::{FileInTheWay, NoParent, Nothing};
        for (stands, slash, brings, expected) in [
            (Stands::Folder, false, File, Ok(Goes::Into)),
            (Stands::Folder, true, Folder, Ok(Goes::Into)),
            (Stands::Folder, false, Several, Ok(Goes::Into)),
            (Stands::Folder, false, NamelessFolder, Ok(Goes::Merged)),
            (Stands::Folder, true, NamelessFile, Err(Nowhere::NeedsName)),
            (Stands::File, false, File, Ok(Goes::As)),
            (Stands::File, true, File, Err(Nowhere::NotAFolder)),
            (Stands::File, false, Folder, Err(Nowhere::FolderOntoFile)),
            (Stands::File, false, Several, Err(Nowhere::NotAFolder)),
            (Nothing, false, File, Ok(Goes::As)),
            (Nothing, false, NamelessFile, Ok(Goes::As)),
            (Nothing, true, File, Err(Nowhere::NoFolderForFile)),
            (Nothing, true, Folder, Ok(Goes::As)),
            (Nothing, false, NamelessFolder, Ok(Goes::As)),
            (Nothing, true, Several, Err(Nowhere::NoFolder)),
            (NoParent, false, File, Err(Nowhere::NoParent)),
            (FileInTheWay, true, Several, Err(Nowhere::FileInTheWay)),
        ] {
            assert_eq!(decide(stands, slash, brings), expected, "{stands:?} {slash} {brings:?}");
        }
    }
}
