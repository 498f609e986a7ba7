
/**
 * What a browser sees. Before there is a secret it offers a fresh one, new at each visit and kept nowhere: whoever else
 * opens the page learns nothing. Afterwards it shows nothing of the shop.
 */
function onhand_page($settings)
{
    if (!empty($settings['uninstall'])) {
        $shop = onhand_open_shop($settings);
        onhand_drop_tables($shop);
        return onhand_html('Removed', '<p>The bridge\'s own tables are gone; the shop\'s are as they were. Now delete this file from the server.</p>');
    }
    if (onhand_secret_bytes($settings) !== null) {
        return onhand_html('Ready', '<p>The bridge is set up. Add the shop in Onhand with the address of this page and the code that you put into'
            . ' this file, and test the connection there.</p>');
    }
    try {
        onhand_make_tables(onhand_open_shop($settings));
        $state = '<p>The shop\'s database was found, and the bridge made its own small tables in it.</p>';
    } catch (OnhandRefusal $refusal) {
        $state = '<p class="bad">' . htmlspecialchars($refusal->getMessage(), ENT_QUOTES, 'UTF-8') . '</p>';
    } catch (OnhandDatabaseError $error) {
        $state = '<p class="bad">' . htmlspecialchars($error->forCaller(), ENT_QUOTES, 'UTF-8') . '</p>';
    }
    $random = function_exists('random_bytes') ? random_bytes(32) : openssl_random_pseudo_bytes(32);
    $code = 'whsec_' . base64_encode($random);
    return onhand_html('One step is left', $state
        . '<ol><li>Copy this code: <code>' . $code . '</code></li>'
        . '<li>Open this file in an editor, put the code between the quotes of <code>\'secret\' => \'\'</code> near its top, and upload it again.</li>'
        . '<li>In Onhand, add the shop with the address of this page and the same code.</li></ol>'
        . '<p>The code is new at each visit and is not kept anywhere: only the one that you put into the file counts.</p>');
}

function onhand_html($title, $text)
{
    return '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="robots" content="noindex"><meta name="viewport" content="width=device-width">'
        . '<title>Onhand bridge</title><style>body{font:16px/1.5 sans-serif;max-width:42em;margin:3em auto;padding:0 1em}code{background:#eee;'
        . 'padding:.1em .3em;overflow-wrap:anywhere}.bad{color:#a00}</style></head><body><h1>Onhand bridge: ' . $title . '</h1>' . $text . '</body></html>';
}
