//! A little mail to begin with, in the encodings in which mail comes.

/// The sample for a tenant, as an mbox file. The last message is broken, so that an import shows what it does with one.
pub fn mbox(tenant: &str) -> Vec<u8> {
    let mut mbox = Vec::new();
    for (number, message) in messages(tenant).iter().enumerate() {
        mbox.extend_from_slice(format!("From sample Mon Nov {:2} 09:0{number}:00 2026\n", number + 2).as_bytes());
        mbox.extend_from_slice(message);
        mbox.extend_from_slice(b"\n\n");
    }
    mbox
}

fn messages(tenant: &str) -> Vec<Vec<u8>> {
    let to = format!("To: team@{tenant}.example\nMessage-ID: <%@sample.example>\nMIME-Version: 1.0\n");
    let plain = |number: u32, head: &str, text: &[u8]| {
        let head = format!("{head}\nDate: Mon, {:02} Nov 2026 09:00:00 +0000\n{to}", number + 1);
        [head.replace('%', &number.to_string()).as_bytes(), b"\n", text].concat()
    };
    vec![
        plain(
            1,
            &format!("From: Grace <grace@{tenant}.example>\nSubject: Welcome to {tenant}"),
            format!("This is the mail of {tenant}, and of nobody else.\n\n>From here on it is yours.\n").as_bytes(),
        ),
        plain(
            2,
            "From: =?iso-8859-1?Q?J=F6rg_M=FCller?= <joerg@partner.example>\nSubject: =?iso-8859-1?Q?Gr=FC=DFe_aus_K=F6ln?=\n\
             Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable",
            b"Sch=F6ne Gr=FC=DFe, und die Rechnung =FCber 40 Dollar kommt morgen.\n",
        ),
        plain(
            3,
            "From: =?KOI8-R?B?6dfBziDwxdTSz9c=?= <ivan@partner.example>\nSubject: =?KOI8-R?B?88/C0sHOycU=?=\n\
             Content-Type: text/plain; charset=koi8-r\nContent-Transfer-Encoding: base64",
            b"99PU0sXewSDXINDPzsXExczYzsnLLgo=\n",
        ),
        plain(
            4,
            "From: =?ISO-2022-JP?B?GyRCOzNFRBsoQg==?= <yamada@partner.example>\nSubject: =?ISO-2022-JP?B?GyRCMnE1RBsoQg==?=\n\
             Content-Type: text/plain; charset=iso-2022-jp",
            b"\x1b$B2q5D$O8a8e!#\x1b(B\n",
        ),
        with_attachment(plain(
            5,
            "From: Heidi <heidi@partner.example>\nSubject: The figures\nContent-Type: multipart/mixed; boundary=cut",
            b"",
        )),
        b"this line is no header field, and so this is no message\n\nThe import says so, and goes on.\n".to_vec(),
    ]
}

fn with_attachment(mut message: Vec<u8>) -> Vec<u8> {
    message.extend_from_slice(
        b"--cut\nContent-Type: text/plain; charset=utf-8\n\nThe figures are attached.\n--cut\n\
          Content-Type: text/csv; name=figures.csv\n\
          Content-Disposition: attachment; filename*=UTF-8''Zahlen%20f%C3%BCr%20November.csv\n\
          Content-Transfer-Encoding: base64\n\nbW9udGgsc3VtCm5vdmVtYmVyLDQyCg==\n--cut--\n",
    );
    message
}
