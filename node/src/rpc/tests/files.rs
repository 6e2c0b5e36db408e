//! Files of a torrent over the API, page by page.

use super::*;

#[tokio::test]
async fn files_come_in_pages_without_gap_or_repeat() {
    let served = Served::start().await;
    let torrent_id = served.backend.insert(1);
    let mut torrents = TorrentServiceClient::new(served.unix().await);
    let ask = |info_hash, page_token| v1::ListTorrentFilesRequest {
        info_hash,
        page_size: 2,
        page_token,
    };
    let unknown = ask(TorrentId([9; 20]).to_string(), String::new());
    let status = torrents.list_torrent_files(unknown).await.unwrap_err();
    assert_reason(&status, Code::NotFound, ErrorReason::TorrentUnknown);
    let (mut paths, mut originals) = (Vec::new(), Vec::new());
    let mut token = String::new();
    for left in [1, 0] {
        let page = ask(torrent_id.to_string(), token);
        let page = torrents.list_torrent_files(page).await.unwrap();
        let page = page.into_inner();
        assert_eq!(page.file_count, 3);
        for file in page.files {
            paths.push(file.path);
            originals.push(file.original_path);
        }
        token = page.next_page_token;
        assert_eq!(token.is_empty(), left == 0);
    }
    assert_eq!(paths, ["disc/0.flac", "disc/1.flac", "disc/2.flac"]);
    assert_eq!(originals, ["", r"di\x2fsc/1\x1b\xff.flac", ""]);
}
