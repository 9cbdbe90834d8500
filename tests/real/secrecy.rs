//! Nothing but ciphertext, tokens and sizes reaches directory or peers: all that they stored and logged is searched.

use std::fs;

use tests::harness::content;

use crate::support::{shoal, text, three_peers};

/// Unlikely enough not to stand anywhere by chance, in a form that survives no encryption.
const CONTENT: &str = "THE-PLAINTEXT-OF-THE-MATTER-0123456789";
const NAME: &str = "telltale-name-of-a-file";
const FOLDER: &str = "telltale-name-of-a-folder";
const LINK: &str = "/telltale/target/of/a/link";

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn what_the_servers_keep_and_log_holds_no_content_and_no_name() {
    let (mut cluster, work) = three_peers();
    // Everything that is logged at all.
    let tree = work.join(FOLDER);
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join(NAME), CONTENT).unwrap();
    fs::write(tree.join(format!("{NAME}-large")), CONTENT.repeat(20_000)).unwrap();
    fs::write(tree.join("noise"), content::bytes(5, 400_000)).unwrap(); // which does not become shorter
    std::os::unix::fs::symlink(LINK, tree.join("link")).unwrap();
    shoal(&cluster, 0, &["put", "-r", text(&tree), "/"]);
    shoal(
        &cluster,
        0,
        &["put", "--no-compress", text(&tree.join(format!("{NAME}-large"))), &format!("/{NAME}-as-it-is")],
    );
    shoal(&cluster, 0, &["mv", &format!("/{FOLDER}/{NAME}"), &format!("/{NAME}-moved")]);
    shoal(&cluster, 0, &["cat", &format!("/{NAME}-moved")]);
    shoal(&cluster, 1, &["cat", &format!("/{NAME}-missing")]);
    shoal(&cluster, 0, &["rm", "-r", &format!("/{FOLDER}")]);
    cluster.stop().unwrap();

    let secret = fs::read(cluster.home("device").join("master.key")).unwrap();
    let mut needles: Vec<Vec<u8>> = [CONTENT, NAME, FOLDER, LINK].map(|text| text.as_bytes().to_vec()).to_vec();
    needles.push(secret[secret.len() - 32..].to_vec()); // behind its magic
    let (mut files, mut bytes) = (0, 0);
    for path in cluster.server_side() {
        for (path, held) in content::all_bytes(&path).unwrap() {
            files += 1;
            bytes += held.len();
            for needle in &needles {
                let shown = String::from_utf8_lossy(needle).into_owned();
                assert!(!contains(&held, needle), "{} holds {shown:?}", path.display());
                assert!(!contains(path.to_string_lossy().as_bytes(), needle), "{} is named so", path.display());
            }
        }
    }
    assert!(files > 10 && bytes > 1 << 20, "only {files} files with {bytes} bytes were searched");
}
